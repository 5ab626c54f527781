//! Which lines of an output are wanted: `| begin`, `| exclude` and `| include`.

use regex::RegexBuilder;

use super::parse::Filter;

/// Octets that an expression may take once it is compiled.
const EXPRESSION: usize = 1 << 20;

/// The lines of a text that a filter lets through.
///
/// # Errors
/// An expression that is none, with what is wrong with it.
pub fn filtered(text: &str, filter: &Filter) -> Result<String, String> {
    let expression = RegexBuilder::new(&filter.expression)
        .size_limit(EXPRESSION)
        .dfa_size_limit(EXPRESSION)
        .build();
    let expression = expression.map_err(|error| {
        let words = error.to_string();
        let last = words.lines().last().unwrap_or_default();
        format!(
            "% Not a regular expression: {}",
            last.trim_start_matches("error: ")
        )
    })?;
    let lines = text.lines();
    let wanted: Vec<&str> = match filter.kind {
        "begin" => lines
            .skip_while(|line| !expression.is_match(line))
            .collect(),
        "exclude" => lines.filter(|line| !expression.is_match(line)).collect(),
        _ => lines.filter(|line| expression.is_match(line)).collect(),
    };
    Ok(wanted.iter().map(|line| format!("{line}\n")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(kind: &'static str, expression: &str) -> Result<String, String> {
        let expression = expression.to_owned();
        filtered("one\ntwo\nthree\n", &Filter { kind, expression })
    }

    #[test]
    fn lines_are_let_through_as_the_filter_says() {
        assert_eq!(of("include", "^t").unwrap(), "two\nthree\n");
        assert_eq!(of("exclude", "^t").unwrap(), "one\n");
        assert_eq!(of("begin", "w").unwrap(), "two\nthree\n");
        assert_eq!(of("include", "x").unwrap(), "");
    }

    #[test]
    fn what_is_no_expression_is_refused_in_one_line() {
        let refused = of("include", "(").unwrap_err();
        assert_eq!(refused, "% Not a regular expression: unclosed group");
        for hostile in [
            "(((a{1000}){1000}){1000})",
            &"(".repeat(60_000),
            r"\pL{9999}",
        ] {
            let refused = of("include", hostile).unwrap_err();
            assert_eq!(refused.lines().count(), 1, "{refused}");
        }
    }
}
