//! Reads policies of keys and buckets and says what they allow, as the "IAM JSON policy elements reference" has it.
//!
//! A policy is about an access key (what that may do) or about a bucket (what anybody may do there, who
//! is named). What is allowed by either is allowed, unless any statement denies it. Not handled, and so
//! refused: conditions, `NotAction`, `NotResource`, `NotPrincipal`, and principals by name, since there
//! is one key only.

use serde::Deserialize;
use serde_json::Value;

/// A policy that was understood.
#[derive(Clone, Debug)]
pub struct Policy {
    statements: Vec<Statement>,
}

/// What one policy, or all of them, say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is allowed.
    Allowed,
    /// It is denied, whoever else allows it.
    Denied,
    /// Nothing, which is as good as a denial if nobody else allows it.
    Silent,
}

impl Verdict {
    /// Joins what two policies say.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Denied, _) | (_, Self::Denied) => Self::Denied,
            (Self::Allowed, _) | (_, Self::Allowed) => Self::Allowed,
            _ => Self::Silent,
        }
    }
}

#[derive(Clone, Debug)]
struct Statement {
    is_allowed: bool,
    is_for_everybody: bool,
    actions: Vec<String>,
    resources: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Document {
    #[serde(rename = "Version")]
    _version: Option<String>,
    #[serde(rename = "Id")]
    _id: Option<String>,
    statement: Many<Written>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Written {
    #[serde(rename = "Sid")]
    _sid: Option<String>,
    effect: String,
    principal: Option<Value>,
    action: Many<String>,
    resource: Many<String>,
}

/// One, or a list.
#[derive(Deserialize)]
#[serde(untagged)]
enum Many<T> {
    One(T),
    List(Vec<T>),
}

impl<T> Many<T> {
    fn list(self) -> Vec<T> {
        match self {
            Self::One(one) => vec![one],
            Self::List(list) => list,
        }
    }
}

impl Policy {
    /// Reads the policy of an access key, which names no principal.
    pub fn of_key(text: &str) -> Result<Self, String> {
        Self::read(text, |principal| match principal {
            None => Ok(true),
            Some(_) => Err("an access key's policy has no principal".to_owned()),
        })
    }

    /// Reads the policy of a bucket, which names everybody.
    pub fn of_bucket(text: &str) -> Result<Self, String> {
        Self::read(text, |principal| match principal {
            Some(principal) => Ok(is_everybody(principal)),
            None => Err("a bucket's policy has a principal".to_owned()),
        })
    }

    fn read(
        text: &str,
        is_for_everybody: impl Fn(Option<&Value>) -> Result<bool, String>,
    ) -> Result<Self, String> {
        let document: Document = serde_json::from_str(text).map_err(|error| error.to_string())?;
        let read = |written: Written| {
            Ok(Statement {
                is_allowed: match &*written.effect {
                    "Allow" => true,
                    "Deny" => false,
                    other => return Err(format!("effect `{other}`")),
                },
                is_for_everybody: is_for_everybody(written.principal.as_ref())?,
                actions: written.action.list(),
                resources: written.resource.list(),
            })
        };
        let statements = document.statement.list().into_iter().map(read);
        Ok(Self {
            statements: statements.collect::<Result<_, String>>()?,
        })
    }

    /// Says whether an action on a resource is allowed.
    #[must_use]
    pub fn judge(&self, action: &str, resource: &str) -> Verdict {
        let mut verdict = Verdict::Silent;
        for statement in &self.statements {
            let is_about = statement.is_for_everybody
                && statement.actions.iter().any(|a| matches(a, action))
                && statement.resources.iter().any(|r| matches(r, resource));
            if is_about {
                verdict = verdict.and(if statement.is_allowed {
                    Verdict::Allowed
                } else {
                    Verdict::Denied
                });
            }
        }
        verdict
    }
}

/// `"*"` or `{"AWS": "*"}`, also in a list.
fn is_everybody(principal: &Value) -> bool {
    match principal {
        Value::String(name) => name == "*",
        Value::Array(names) => names.iter().any(is_everybody),
        Value::Object(kinds) => kinds.get("AWS").is_some_and(is_everybody),
        _ => false,
    }
}

/// Returns whether a pattern with `*` (any text) and `?` (one character) is about all of a text.
fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut p, mut t) = (0, 0);
    // Where the last `*` stands, and up to where it has eaten.
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(&c) if c == b'?' || c == text[t] => {
                p += 1;
                t += 1;
            }
            _ => match star {
                Some((at, eaten)) => {
                    star = Some((at, eaten + 1));
                    (p, t) = (at + 1, eaten + 1);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|&c| c == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_about_all_of_a_text() {
        for (pattern, text, wanted) in [
            ("a*c", "abbc", true),
            ("a*c", "abcd", false),
            ("*", "", true),
            ("a?c", "ac", false),
            ("a?c", "abc", true),
            ("*.n", "x/y.n.n", true),
            ("a*b*c", "aXbYbZc", true),
            ("s3:Get*", "s3:PutObject", false),
        ] {
            assert_eq!(matches(pattern, text), wanted, "{pattern} {text}");
        }
    }

    #[test]
    fn a_denial_outweighs_and_silence_allows_nothing() {
        let policy = Policy::of_bucket(
            r#"{"Statement": [
                {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": "b/*"},
                {"Effect": "Deny", "Principal": {"AWS": ["*"]}, "Action": ["s3:*"], "Resource": ["b/x"]},
                {"Effect": "Allow", "Principal": {"AWS": "me"}, "Action": "s3:*", "Resource": "*"}
            ]}"#,
        )
        .unwrap();
        assert_eq!(policy.judge("s3:GetObject", "b/a"), Verdict::Allowed);
        assert_eq!(policy.judge("s3:GetObject", "b/x"), Verdict::Denied);
        assert_eq!(policy.judge("s3:PutObject", "b/a"), Verdict::Silent);
        for wrong in [
            "{}",
            r#"{"Statement": [{"Effect": "Allow", "Action": "a", "Resource": "b"}]}"#,
            r#"{"Statement": {"Effect": "Perhaps", "Principal": "*", "Action": "a", "Resource": "b"}}"#,
            r#"{"Statement": {"Effect": "Allow", "Principal": "*", "NotAction": "a", "Resource": "b"}}"#,
        ] {
            assert!(Policy::of_bucket(wrong).is_err(), "{wrong}");
        }
    }
}
