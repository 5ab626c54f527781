use std::sync::LazyLock;
use std::time::Duration;

use super::*;
use crate::datastore::confirm::Confirmed;
use crate::model::error::{ErrorInfo, ErrorTag, ErrorType, NETCONF_NAMESPACE, RpcError};
use crate::model::paths;
use crate::model::schema::Schema;

fn schema() -> Schema {
    static SCHEMA: LazyLock<Schema> = LazyLock::new(|| Schema::load(&[]).unwrap());
    *SCHEMA
}

fn incoming(message: &str) -> Incoming {
    read(schema(), message.as_bytes(), 256)
}

fn parsed(operation: &str) -> Result<Rpc, Vec<RpcError>> {
    match incoming(&format!(
        "<rpc message-id=\"1\" xmlns=\"{NETCONF_NAMESPACE}\">{operation}</rpc>"
    )) {
        Incoming::Rpc { rpc, .. } => rpc,
        other => panic!("{operation} is {other:?}"),
    }
}

fn operation(operation: &str) -> Rpc {
    parsed(operation).unwrap()
}

fn refusal(operation: &str) -> RpcError {
    let mut errors = parsed(operation).unwrap_err();
    assert_eq!(errors.len(), 1);
    errors.remove(0)
}

/// Tag and error-info.
fn tag_and_info(error: &RpcError) -> (ErrorTag, Vec<(&str, &str)>) {
    let info = error
        .info
        .iter()
        .map(|ErrorInfo { name, value, .. }| (*name, value.as_str()));
    (error.tag, info.collect())
}

#[test]
fn operations_without_parameters_are_read() {
    assert_eq!(operation("<close-session/>"), Rpc::CloseSession);
    assert_eq!(
        operation("<discard-changes> </discard-changes>"),
        Rpc::DiscardChanges
    );
    assert_eq!(
        operation("<commit/>"),
        Rpc::Commit {
            request: Request {
                confirmed: None,
                persist_id: None
            },
            comment: None
        }
    );
    assert_eq!(
        operation("<get/>"),
        Rpc::Get {
            filter: None,
            with_defaults: None
        }
    );
}

#[test]
fn any_prefix_quotes_and_white_space_will_do() {
    let message = format!(
        "<?xml version='1.0'?>\n<!-- a --><nc:rpc\n xmlns:nc='{NETCONF_NAMESPACE}'\n message-id='1'>\n<?pi?>\n<nc:get-config>\n<nc:source>\n<!-- b --><nc:running></nc:running>\n</nc:source></nc:get-config></nc:rpc>\n"
    );
    let Incoming::Rpc { head, rpc } = incoming(&message) else {
        panic!("{message}")
    };
    assert_eq!(head.message_id(), Some("1"));
    let expected = Rpc::GetConfig {
        source: Datastore::Running,
        filter: None,
        with_defaults: None,
    };
    assert_eq!(rpc.unwrap(), expected);
}

#[test]
fn values_may_be_written_with_references_and_character_data_sections() {
    let commit =
        operation("<commit><persist-id>a &amp; &#98;<![CDATA[<c>]]></persist-id></commit>");
    assert_eq!(
        commit,
        Rpc::Commit {
            request: Request {
                confirmed: None,
                persist_id: Some("a & b<c>".into())
            },
            comment: None
        }
    );
}

#[test]
fn an_edit_has_its_options_and_its_content() {
    let Rpc::EditConfig(edit) = operation(
        "<edit-config><target><candidate/></target><default-operation>none</default-operation>\
         <test-option>set</test-option><error-option>rollback-on-error</error-option>\
         <config xmlns:nc=\"urn:ietf:params:xml:ns:netconf:base:1.0\"><a xmlns=\"urn:a\" nc:operation=\"delete\"/></config></edit-config>",
    ) else {
        panic!("no edit-config")
    };
    assert_eq!(edit.target, Datastore::Candidate);
    assert_eq!(edit.default_operation, DefaultOperation::None);
    assert_eq!(edit.test_option, Some(TestOption::Set));
    assert_eq!(edit.error_option, ErrorOption::RollbackOnError);
    let expected =
        format!("<a xmlns:nc=\"{NETCONF_NAMESPACE}\" xmlns=\"urn:a\" nc:operation=\"delete\"/>");
    assert_eq!(edit.config, expected);
    let Rpc::EditConfig(edit) =
        operation("<edit-config><target><running/></target><config/></edit-config>")
    else {
        panic!("no edit-config")
    };
    assert_eq!(
        (edit.default_operation, edit.config.as_str()),
        (DefaultOperation::Merge, "")
    );
    assert_eq!(
        (edit.test_option, edit.error_option),
        (None, ErrorOption::StopOnError)
    );
}

#[test]
fn a_config_without_a_namespace_is_taken_as_ncclient_sends_it() {
    let edit = operation(
        "<edit-config><target><candidate/></target><config xmlns=''><a xmlns='urn:a'/></config></edit-config>",
    );
    assert!(matches!(edit, Rpc::EditConfig(edit) if edit.config.contains("urn:a")));
    let copy = operation(
        "<copy-config><target><candidate/></target><source><config xmlns=''><a xmlns='urn:a'/></config></source></copy-config>",
    );
    assert!(matches!(
        copy,
        Rpc::CopyConfig {
            source: Source::Config(_),
            ..
        }
    ));
    let error =
        refusal("<edit-config><target><candidate/></target><config xmlns='urn:x'/></edit-config>");
    assert_eq!(error.tag, ErrorTag::UnknownNamespace);
}

#[test]
fn filters_are_kept_as_they_are() {
    let filtered = |xml: &str| match operation(&format!("<get>{xml}</get>")) {
        Rpc::Get { filter, .. } => filter,
        other => panic!("{other:?}"),
    };
    let subtree = Some(Filter::Subtree("<a xmlns=\"urn:a\"/>".into()));
    assert_eq!(filtered("<filter><a xmlns=\"urn:a\"/></filter>"), subtree);
    assert_eq!(
        filtered("<filter type='subtree'><a xmlns=\"urn:a\"/></filter>"),
        subtree
    );
    let qualified = format!("<filter xmlns:nc='{NETCONF_NAMESPACE}' nc:type='subtree'/>");
    assert_eq!(filtered(&qualified), Some(Filter::Subtree(String::new())));
    let xpath = |xml: &str| match filtered(xml) {
        Some(Filter::XPath {
            expression,
            declared,
        }) => (expression, declared),
        other => panic!("{other:?}"),
    };
    let (expression, declared) =
        xpath("<filter type='xpath' xmlns:t='urn:t' select=\"/t:a[t:b='1']\"/>");
    assert_eq!(expression, "/t:a[t:b='1']");
    assert!(declared.contains(&("t".into(), "urn:t".into())));
    let error = refusal("<get><filter type='xpath'/></get>");
    let expected = (
        ErrorTag::MissingAttribute,
        vec![("bad-attribute", "select"), ("bad-element", "filter")],
    );
    assert_eq!(tag_and_info(&error), expected);
    let error = refusal("<get><filter type='other' select='/a'/></get>");
    let expected = (
        ErrorTag::BadAttribute,
        vec![("bad-attribute", "type"), ("bad-element", "filter")],
    );
    assert_eq!(tag_and_info(&error), expected);
}

#[test]
fn commits_are_confirmed_with_their_timeout_and_token() {
    let confirmed = |timeout, persist| {
        Some(Confirmed {
            timeout: Duration::from_secs(timeout),
            persist,
        })
    };
    assert_eq!(
        operation("<commit><confirmed/></commit>"),
        Rpc::Commit {
            request: Request {
                confirmed: confirmed(600, None),
                persist_id: None
            },
            comment: None
        }
    );
    let xml = "<commit><confirmed/><confirm-timeout>5</confirm-timeout><persist>p</persist><persist-id>q</persist-id></commit>";
    let expected = Rpc::Commit {
        request: Request {
            confirmed: confirmed(5, Some("p".into())),
            persist_id: Some("q".into()),
        },
        comment: None,
    };
    assert_eq!(operation(xml), expected);
    for bad in ["0", "-1", "4294967296", "x", ""] {
        let xml = format!("<commit><confirmed/><confirm-timeout>{bad}</confirm-timeout></commit>");
        assert_eq!(refusal(&xml).tag, ErrorTag::InvalidValue, "{bad}");
    }
    for stray in [
        "<persist>p</persist>",
        "<confirm-timeout>5</confirm-timeout>",
    ] {
        let error = refusal(&format!("<commit>{stray}</commit>"));
        let expected = (ErrorTag::MissingElement, vec![("bad-element", "confirmed")]);
        assert_eq!(tag_and_info(&error), expected);
    }
    assert_eq!(
        operation("<cancel-commit/>"),
        Rpc::CancelCommit { persist_id: None }
    );
}

#[test]
fn sources_may_be_datastores_or_configurations() {
    let copy = operation(
        "<copy-config><target><startup/></target><source><running/></source></copy-config>",
    );
    let source = Source::Datastore(Named::Element(Datastore::Running));
    assert_eq!(
        copy,
        Rpc::CopyConfig {
            target: Datastore::Startup,
            source,
            with_defaults: None
        }
    );
    let validate =
        operation("<validate><source><config><a xmlns=\"urn:a\"/></config></source></validate>");
    assert_eq!(
        validate,
        Rpc::Validate {
            source: Source::Config("<a xmlns=\"urn:a\"/>".into())
        }
    );
    for (xml, name) in [
        ("<lock><target><nowhere/></target></lock>", "nowhere"),
        ("<lock><target><config/></target></lock>", "config"),
        (
            "<validate><source><url>file:///etc/passwd</url></source></validate>",
            "url",
        ),
    ] {
        assert_eq!(
            tag_and_info(&refusal(xml)),
            (ErrorTag::UnknownElement, vec![("bad-element", name)]),
            "{xml}"
        );
    }
    let two = refusal("<lock><target><running/><candidate/></target></lock>");
    assert_eq!(
        tag_and_info(&two),
        (ErrorTag::BadElement, vec![("bad-element", "candidate")])
    );
}

#[test]
fn missing_unknown_and_repeated_parameters_are_named() {
    for (xml, name) in [
        ("<lock/>", "target"),
        ("<lock><target/></lock>", "target"),
        ("<get-config/>", "source"),
        ("<kill-session/>", "session-id"),
        (
            "<edit-config><target><running/></target></edit-config>",
            "config",
        ),
        ("<edit-config><config/></edit-config>", "target"),
        (
            "<get-schema xmlns='urn:ietf:params:xml:ns:yang:ietf-netconf-monitoring'/>",
            "identifier",
        ),
    ] {
        assert_eq!(
            tag_and_info(&refusal(xml)),
            (ErrorTag::MissingElement, vec![("bad-element", name)]),
            "{xml}"
        );
    }
    let unknown = refusal("<get><nothing/></get>");
    assert_eq!(
        tag_and_info(&unknown),
        (ErrorTag::UnknownElement, vec![("bad-element", "nothing")])
    );
    assert_eq!(unknown.error_type, ErrorType::Protocol);
    let twice = refusal("<get><filter/><filter/></get>");
    assert_eq!(
        tag_and_info(&twice),
        (ErrorTag::BadElement, vec![("bad-element", "filter")])
    );
    let namespace = refusal("<lock><target xmlns='urn:x'><running/></target></lock>");
    let info = vec![("bad-element", "target"), ("bad-namespace", "urn:x")];
    assert_eq!(tag_and_info(&namespace), (ErrorTag::UnknownNamespace, info));
    assert_eq!(refusal("<edit-config><target><running/></target><default-operation>x</default-operation><config/></edit-config>").tag, ErrorTag::InvalidValue);
    assert_eq!(
        refusal("<kill-session><session-id>0</session-id></kill-session>").tag,
        ErrorTag::InvalidValue
    );
}

#[test]
fn unknown_operations_are_not_supported() {
    let error = refusal("<make-coffee/>");
    assert_eq!(error.error_type, ErrorType::Protocol);
    assert_eq!(
        tag_and_info(&error),
        (
            ErrorTag::OperationNotSupported,
            vec![("bad-element", "make-coffee")]
        )
    );
    assert_eq!(refusal("<get xmlns=''/>").tag, ErrorTag::UnknownNamespace);
    assert_eq!(
        tag_and_info(&refusal("")),
        (
            ErrorTag::MissingElement,
            vec![("bad-element", "rpcOperation")]
        )
    );
    assert_eq!(
        tag_and_info(&refusal("<get/><commit/>")),
        (ErrorTag::UnknownElement, vec![("bad-element", "commit")])
    );
}

#[test]
fn operations_of_modules_keep_their_message() {
    let Rpc::Other {
        namespace,
        name,
        message,
    } = operation("<x:reset xmlns:x='urn:x'><x:a>1</x:a></x:reset>")
    else {
        panic!("no operation of a module")
    };
    assert_eq!((namespace.as_str(), name.as_str()), ("urn:x", "reset"));
    assert!(message.starts_with("<rpc ") && message.ends_with("</rpc>"));
    let action = operation(
        "<action xmlns='urn:ietf:params:xml:ns:yang:1'><a xmlns='urn:a'><go/></a></action>",
    );
    assert!(matches!(action, Rpc::Action { path: None, message } if message.contains("<go/>")));
    let xml = "<get-schema xmlns='urn:ietf:params:xml:ns:yang:ietf-netconf-monitoring' xmlns:m='urn:ietf:params:xml:ns:yang:ietf-netconf-monitoring'><identifier>a</identifier><format>m:yin</format></get-schema>";
    let expected = Rpc::GetSchema {
        identifier: "a".into(),
        version: None,
        format: Some("yin".into()),
    };
    assert_eq!(operation(xml), expected);
}

#[test]
fn an_action_is_known_by_its_path_whatever_stands_beside_it() {
    let named = |content: &str| {
        let action = format!("<action xmlns='urn:ietf:params:xml:ns:yang:1'>{content}</action>");
        match operation(&action) {
            Rpc::Action { path, .. } => path,
            other => panic!("{other:?}"),
        }
    };
    let management = "urn:tether:yang:device-management";
    let back = format!(
        "<m:device-management xmlns:m='{management}'><x xmlns='urn:x'/><m:rollback-to><m:commit-id>much</m:commit-id></m:rollback-to></m:device-management>"
    );
    assert_eq!(named(&back).as_deref(), Some(paths::ROLLBACK_TO));
    for none in [
        format!("<device-management xmlns='{management}'><commit/></device-management>"),
        "<device-management xmlns='urn:x'><rollback-to/></device-management>".to_owned(),
        String::new(),
    ] {
        assert_eq!(named(&none), None, "{none}");
    }
}

#[test]
fn defaults_are_reported_as_asked() {
    let xml = "<get><with-defaults xmlns='urn:ietf:params:xml:ns:yang:ietf-netconf-with-defaults'>report-all</with-defaults></get>";
    assert_eq!(
        operation(xml),
        Rpc::Get {
            filter: None,
            with_defaults: Some(WithDefaults::ReportAll)
        }
    );
    assert_eq!(
        refusal("<get><with-defaults>report-all</with-defaults></get>").tag,
        ErrorTag::UnknownNamespace
    );
}

#[test]
fn other_messages_are_told_apart() {
    let base = format!("xmlns=\"{NETCONF_NAMESPACE}\"");
    assert!(matches!(
        incoming(&format!("<hello {base}/>")),
        Incoming::Hello
    ));
    assert!(matches!(incoming("<rpc"), Incoming::Malformed { .. }));
    let not_rpc = |xml: &str| match incoming(xml) {
        Incoming::NotRpc { error, .. } => (error.error_type, error.tag),
        other => panic!("{xml} is {other:?}"),
    };
    assert_eq!(
        not_rpc(&format!("<rpc {base}><get/></rpc>")),
        (ErrorType::Rpc, ErrorTag::MissingAttribute)
    );
    assert_eq!(
        not_rpc("<rpc message-id='1'><get/></rpc>"),
        (ErrorType::Rpc, ErrorTag::UnknownNamespace)
    );
    assert_eq!(
        not_rpc(&format!("<rpc-reply {base}/>")),
        (ErrorType::Rpc, ErrorTag::UnknownElement)
    );
}

#[test]
fn elements_that_share_too_many_declarations_are_too_big() {
    let declarations: String = (0..1_000)
        .map(|n| format!(" xmlns:a{n}='urn:{n}'"))
        .collect();
    let xml = format!(
        "<edit-config><target><running/></target><config{declarations}>{}</config></edit-config>",
        "<a/>".repeat(10_000)
    );
    assert_eq!(refusal(&xml).tag, ErrorTag::TooBig);
}
