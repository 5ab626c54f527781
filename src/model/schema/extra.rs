//! A YANG module from outside: its head, read before libyang reads the whole.

/// A module or submodule beside those that the agent brings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExtraModule {
    name: String,
    text: String,
    revision: Option<String>,
    belongs_to: Option<String>,
    needs: Vec<Needed>,
    serves_others: bool,
    origin: String,
}

/// What an `import` or `include` asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Needed {
    /// Name of the module or submodule.
    pub name: String,
    /// The revision, where one is asked for.
    pub revision: Option<String>,
}

/// The text does not begin as a module or submodule does (RFC 7950, section 5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it does not begin with a module or submodule statement")]
pub struct NoModule;

impl ExtraModule {
    /// Reads the head of a module in YANG; the rest is checked when the schema is made of it.
    ///
    /// # Errors
    /// A text that is no module.
    pub fn parse(text: String) -> Result<Self, NoModule> {
        let mut statements = Statements::of(&text);
        let head = statements.next().ok_or(NoModule)?;
        if head.depth != 0 || !matches!(head.keyword.as_str(), "module" | "submodule") {
            return Err(NoModule);
        }
        let mut module = Self {
            name: head.argument,
            text: String::new(),
            revision: None,
            belongs_to: None,
            needs: Vec::new(),
            serves_others: false,
            origin: String::new(),
        };
        let mut inside = String::new();
        for statement in statements {
            match (statement.depth, statement.keyword.as_str()) {
                (1, "revision") => module.revision = module.revision.max(Some(statement.argument)),
                (1, "belongs-to") => module.belongs_to = Some(statement.argument),
                (1, "import" | "include") => module.needs.push(Needed {
                    name: statement.argument,
                    revision: None,
                }),
                (2, "revision-date") if matches!(inside.as_str(), "import" | "include") => {
                    if let Some(last) = module.needs.last_mut() {
                        last.revision = Some(statement.argument);
                    }
                }
                _ => {}
            }
            if statement.depth == 1 {
                inside = statement.keyword;
            }
        }
        module.text = text;
        Ok(module)
    }

    /// The same module, which only lends others its types and groupings: the datastores hold none of its data.
    #[must_use]
    pub fn for_others(self) -> Self {
        Self {
            serves_others: true,
            ..self
        }
    }

    /// The same module; whoever reads of it in an error is told where it comes from.
    #[must_use]
    pub fn from(self, origin: String) -> Self {
        Self { origin, ..self }
    }

    /// Where it comes from; empty if that was not told.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Its latest revision.
    pub fn revision(&self) -> Option<&str> {
        self.revision.as_deref()
    }

    /// Of a submodule, its module.
    pub fn belongs_to(&self) -> Option<&str> {
        self.belongs_to.as_deref()
    }

    /// What it imports and includes.
    pub fn needs(&self) -> &[Needed] {
        &self.needs
    }

    /// Whether the datastores hold its data.
    pub fn is_implemented(&self) -> bool {
        !self.serves_others && self.belongs_to.is_none()
    }
}

/// One statement: keyword, argument, and how many statements it is in.
struct Statement {
    depth: usize,
    keyword: String,
    argument: String,
}

/// The statements of a text, each before those in it.
struct Statements<'a> {
    tokens: Tokens<'a>,
    depth: usize,
}

enum Token {
    Text(String),
    Open,
    Close,
    End,
}

impl<'a> Statements<'a> {
    fn of(text: &'a str) -> Self {
        Self {
            tokens: Tokens { rest: text },
            depth: 0,
        }
    }
}

impl Iterator for Statements<'_> {
    type Item = Statement;

    fn next(&mut self) -> Option<Statement> {
        let keyword = loop {
            match self.tokens.next()? {
                Token::Text(keyword) => break keyword,
                Token::Close => self.depth = self.depth.saturating_sub(1),
                Token::Open | Token::End => {}
            }
        };
        let depth = self.depth;
        let mut argument = String::new();
        loop {
            match self.tokens.next()? {
                Token::Text(text) if text == "+" => {}
                Token::Text(text) => argument.push_str(&text),
                Token::Open => {
                    self.depth += 1;
                    break;
                }
                Token::Close | Token::End => break,
            }
        }
        Some(Statement {
            depth,
            keyword,
            argument,
        })
    }
}

/// RFC 7950, section 6.1.
struct Tokens<'a> {
    rest: &'a str,
}

impl<'a> Tokens<'a> {
    fn skip_blanks_and_comments(&mut self) {
        loop {
            self.rest = self
                .rest
                .trim_start_matches(['\u{feff}', ' ', '\t', '\r', '\n']);
            let end = match self.rest.get(..2) {
                Some("//") => self.rest.find('\n'),
                Some("/*") => self.rest.find("*/").map(|at| at + 2),
                _ => return,
            };
            self.rest = &self.rest[end.unwrap_or(self.rest.len())..];
        }
    }

    /// What stands before a position, which is skipped with `more` octets behind it.
    fn take(&mut self, end: Option<usize>, more: usize) -> &'a str {
        let end = end.unwrap_or(self.rest.len());
        let taken = &self.rest[..end];
        self.rest = self.rest.get(end + more..).unwrap_or_default();
        taken
    }

    fn double_quoted(&mut self) -> String {
        let mut text = String::new();
        let mut characters = self.rest.char_indices();
        while let Some((at, character)) = characters.next() {
            match character {
                '"' => {
                    self.rest = &self.rest[at + 1..];
                    return text;
                }
                '\\' => match characters.next() {
                    Some((_, 'n')) => text.push('\n'),
                    Some((_, 't')) => text.push('\t'),
                    Some((_, other)) => text.push(other),
                    None => break,
                },
                other => text.push(other),
            }
        }
        self.rest = "";
        text
    }
}

impl Iterator for Tokens<'_> {
    type Item = Token;

    fn next(&mut self) -> Option<Token> {
        self.skip_blanks_and_comments();
        let first = self.rest.chars().next()?;
        let mut one = |token| {
            self.rest = &self.rest[1..];
            token
        };
        Some(match first {
            '{' => one(Token::Open),
            '}' => one(Token::Close),
            ';' => one(Token::End),
            '"' => {
                self.rest = &self.rest[1..];
                Token::Text(self.double_quoted())
            }
            '\'' => {
                self.rest = &self.rest[1..];
                let end = self.rest.find('\'');
                Token::Text(self.take(end, 1).to_owned())
            }
            _ => {
                let end = self.rest.find([' ', '\t', '\r', '\n', '{', '}', ';']);
                Token::Text(self.take(end, 0).to_owned())
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_head_is_read_past_comments_quotes_and_what_only_looks_like_it() {
        let text = r#"// module wrong { }
            /* submodule worse { */ module "a" + 'b' {
            description "module { import no; \" } revision 1999-01-01;";
            import one { prefix o; revision-date 2020-01-01; }
            include part;
            revision "2024-01-01"; revision 2025-06-07 { description 'revision 2030-01-01;'; }
            container c { leaf import { type string; } } }"#;
        let module = ExtraModule::parse(text.to_owned()).unwrap();
        assert_eq!(module.name(), "ab");
        assert_eq!(module.revision(), Some("2025-06-07"));
        let needs = module.needs().iter();
        let needs: Vec<_> = needs
            .map(|needed| (needed.name.as_str(), needed.revision.as_deref()))
            .collect();
        assert_eq!(needs, [("one", Some("2020-01-01")), ("part", None)]);
        assert!(module.is_implemented());
    }

    #[test]
    fn a_submodule_names_its_module_and_is_not_implemented_by_itself() {
        let text = "submodule part { yang-version 1.1; belongs-to whole { prefix w; } }";
        let module = ExtraModule::parse(text.to_owned()).unwrap();
        assert_eq!(module.belongs_to(), Some("whole"));
        assert!(!module.is_implemented());
    }

    #[test]
    fn what_is_no_module_is_refused() {
        for text in ["", "hello", "<module/>", "container c { }", "\"", "'", "/*"] {
            assert_eq!(ExtraModule::parse(text.to_owned()), Err(NoModule), "{text}");
        }
    }
}
