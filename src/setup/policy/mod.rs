//! The least policies: what each kind of user of a cache needs, and nothing more.
//!
//! A [`Role`], a bucket and a prefix come in, statements go out, and from them the JSON of "IAM JSON
//! policy elements" in either [`Form`]. [`merge`] puts a statement among those of a bucket's policy and
//! leaves every other as it is. Pure: nothing here asks a server.
//!
//! What each role needs was found by running the commands against a server that enforces policies, which
//! the tests do still. Not here: what `init` itself needs, which is an administrator's business, and
//! `s3:DeleteObjectVersion`, by which `sweep --undo` takes delete markers off in a bucket that keeps
//! versions: whoever has it can also destroy what the versions are kept for.

use serde::Serialize;
use serde_json::{Value, json};

/// The version of the policy language; there is no newer one.
const LANGUAGE: &str = "2012-10-17";

/// A narinfo: 32 characters and a suffix. `*.narinfo` would also be about narinfos of other caches
/// below this one, and about every file of the ledger that somebody named so.
const NARINFO: &str = "????????????????????????????????.narinfo";

/// A listing of a NAR.
const LISTING: &str = "????????????????????????????????.ls";

/// What Nix keeps in a cache, and its clients read.
const OBJECTS: [&str; 8] = [
    NARINFO,
    "nar/*",
    "nix-cache-info",
    LISTING,
    "log/*",
    "debuginfo/*",
    "realisations/*",
    "build-trace-v2/*",
];

/// What a sweep deletes. Not `nix-cache-info`.
const SWEPT: [&str; 8] = [
    NARINFO,
    "nar/*",
    LISTING,
    "log/*",
    "debuginfo/*",
    "realisations/*",
    "build-trace-v2/*",
    LEDGER,
];

/// What narhaul keeps for itself.
const LEDGER: &str = "narhaul/*";

/// What copies note about themselves while they run.
const INTENTS: &str = "narhaul/intents/*";

/// Where an examination (`doctor`) tries what a server does with writes.
const TRIALS: &str = "narhaul/doctor/*";

/// Where benches work.
const BENCHES: &str = "narhaul-bench/*";

/// Who uses a cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Nix clients: Nix's own objects, and not the ledger, which says what whose machines have.
    Reader,
    /// Machines that copy into it, pin what they need, and look at what is there.
    Writer,
    /// The one machine that sweeps it, puts back and repairs.
    Sweeper,
    /// Whoever measures the bucket, beside the cache and not in it.
    Bencher,
}

impl Role {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Reader, Self::Writer, Self::Sweeper, Self::Bencher];

    /// Returns its name in arguments.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Reader => "reader",
            Self::Writer => "writer",
            Self::Sweeper => "sweeper",
            Self::Bencher => "bencher",
        }
    }
}

/// Where a policy is attached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Form {
    /// To a user, group or role (IAM, MinIO): it names no principal.
    Identity,
    /// To the bucket: it names whom it is about.
    Bucket {
        /// An ARN, or `*` for everybody.
        principal: String,
    },
}

impl Form {
    /// For everybody, with or without credentials.
    #[must_use]
    pub fn everybody() -> Self {
        Self::Bucket {
            principal: "*".to_owned(),
        }
    }
}

/// What is allowed, of what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// Its name within a policy: letters and digits only, as AWS wants it.
    pub sid: String,
    /// The actions, as `s3:GetObject`.
    pub actions: Vec<&'static str>,
    /// Full names of buckets or patterns of objects.
    pub resources: Vec<String>,
}

/// A statement in the order in which people write one.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Written<'a> {
    sid: &'a str,
    effect: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    principal: Option<Value>,
    action: &'a [&'static str],
    resource: &'a [String],
}

/// Returns the statements of a role for the cache at `prefix` in a bucket.
#[must_use]
pub fn least(role: Role, bucket: &str, prefix: &str) -> Vec<Statement> {
    let prefix = match prefix.trim_matches('/') {
        "" => String::new(),
        prefix => format!("{prefix}/"),
    };
    let on_bucket = |sid: &str, actions: &[&'static str]| Statement {
        sid: sid.to_owned(),
        actions: actions.to_vec(),
        resources: vec![format!("arn:aws:s3:::{bucket}")],
    };
    let on_objects = |sid: &str, action, patterns: &[&str]| Statement {
        sid: sid.to_owned(),
        actions: vec![action],
        resources: patterns
            .iter()
            .map(|pattern| format!("arn:aws:s3:::{bucket}/{prefix}{pattern}"))
            .collect(),
    };
    let objects_and = |more: &[&'static str]| [&OBJECTS, more].concat();
    match role {
        Role::Reader => vec![on_objects("NarhaulRead", "s3:GetObject", &OBJECTS)],
        Role::Writer => vec![
            on_bucket(
                "NarhaulList",
                &["s3:ListBucket", "s3:ListBucketMultipartUploads"],
            ),
            on_objects("NarhaulRead", "s3:GetObject", &objects_and(&[LEDGER])),
            on_objects(
                "NarhaulWrite",
                "s3:PutObject",
                &objects_and(&[INTENTS, "narhaul/roots/*", "narhaul/pins/*", TRIALS]),
            ),
            on_objects("NarhaulGoOn", "s3:ListMultipartUploadParts", &["nar/*"]),
            on_objects(
                "NarhaulGiveUp",
                "s3:AbortMultipartUpload",
                &["nar/*", TRIALS],
            ),
            on_objects("NarhaulEnd", "s3:DeleteObject", &[INTENTS, TRIALS]),
        ],
        Role::Sweeper => vec![
            on_bucket(
                "NarhaulList",
                &[
                    "s3:ListBucket",
                    "s3:ListBucketVersions",
                    "s3:ListBucketMultipartUploads",
                    "s3:GetLifecycleConfiguration",
                    "s3:GetBucketVersioning",
                    "s3:GetBucketObjectLockConfiguration",
                ],
            ),
            on_objects("NarhaulRead", "s3:GetObject", &objects_and(&[LEDGER])),
            on_objects("NarhaulPutBack", "s3:PutObject", &[NARINFO, LEDGER]),
            on_objects(
                "NarhaulGiveUp",
                "s3:AbortMultipartUpload",
                &["nar/*", LEDGER],
            ),
            on_objects("NarhaulSweep", "s3:DeleteObject", &SWEPT),
        ],
        Role::Bencher => vec![
            on_bucket(
                "NarhaulList",
                &[
                    "s3:ListBucket",
                    "s3:ListBucketMultipartUploads",
                    "s3:GetBucketVersioning",
                ],
            ),
            on_objects("NarhaulRead", "s3:GetObject", &[BENCHES]),
            on_objects("NarhaulWrite", "s3:PutObject", &[BENCHES]),
            on_objects("NarhaulGiveUp", "s3:AbortMultipartUpload", &[BENCHES]),
            on_objects("NarhaulEnd", "s3:DeleteObject", &[BENCHES]),
        ],
    }
}

/// Returns the JSON of a policy, in lines, with a line break at the end.
#[must_use]
pub fn to_json(statements: &[Statement], form: &Form) -> String {
    #[derive(Serialize)]
    #[serde(rename_all = "PascalCase")]
    struct Document<'a> {
        version: &'a str,
        statement: Vec<Written<'a>>,
    }
    let document = Document {
        version: LANGUAGE,
        statement: statements.iter().map(|one| written(one, form)).collect(),
    };
    // Texts and lists of texts can be written whatever they hold.
    serde_json::to_string_pretty(&document).unwrap_or_default() + "\n"
}

fn written<'a>(statement: &'a Statement, form: &Form) -> Written<'a> {
    Written {
        sid: &statement.sid,
        effect: "Allow",
        principal: match form {
            Form::Identity => None,
            Form::Bucket { principal } => Some(json!({ "AWS": [principal] })),
        },
        action: &statement.actions,
        resource: &statement.resources,
    }
}

/// Returns the statement that lets everybody read. Each cache of a bucket has one by its own name.
#[must_use]
pub fn anonymous_read(bucket: &str, prefix: &str) -> Statement {
    let mut statements = least(Role::Reader, bucket, prefix);
    let mut statement = statements.remove(0);
    statement.sid = "NarhaulAnonymousRead".to_owned();
    let suffix = prefix.trim_matches('/').bytes().map(|byte| {
        if byte.is_ascii_alphanumeric() && byte != b'Z' {
            char::from(byte).to_string()
        } else {
            format!("Z{byte:02x}")
        }
    });
    statement.sid.extend(suffix);
    statement
}

/// What becomes of a bucket's policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Merged {
    /// The statement is in it.
    AlreadySo,
    /// A statement of this name is in it, and says something else.
    Conflict,
    /// This is the policy with the statement, and everything else as it was.
    Text(String),
}

/// Puts a statement for everybody into a bucket's policy.
///
/// # Errors
///
/// The policy is no JSON of a policy; it is better not to write over it.
pub fn merge(policy: Option<&str>, ours: &Statement) -> Result<Merged, serde_json::Error> {
    let ours = serde_json::to_value(written(ours, &Form::everybody()))?;
    let mut document: Value = match policy {
        Some(text) if !text.trim().is_empty() => serde_json::from_str(text)?,
        _ => json!({ "Version": LANGUAGE, "Statement": [] }),
    };
    let wrong = || serde::de::Error::custom("`Statement` is no list");
    let statements = document.get_mut("Statement").ok_or_else(wrong)?;
    if statements.is_object() {
        // One statement may stand alone.
        let alone = statements.take();
        *statements = Value::Array(vec![alone]);
    }
    let statements = statements.as_array_mut().ok_or_else(wrong)?;
    // Servers may write a principal or a single resource in another way than they were told.
    match statements.iter().find(|found| same_place(found, &ours)) {
        Some(found) if plain(found) == plain(&ours) => Ok(Merged::AlreadySo),
        Some(_) => Ok(Merged::Conflict),
        None => {
            statements.push(ours);
            Ok(Merged::Text(document.to_string()))
        }
    }
}

/// Returns whether a statement has our name.
fn same_place(found: &Value, ours: &Value) -> bool {
    found.get("Sid") == ours.get("Sid")
}

/// Returns a statement in one of the ways of writing it.
fn plain(statement: &Value) -> Value {
    let Some(fields) = statement.as_object() else {
        return statement.clone();
    };
    let fields = fields.iter().map(|(name, value)| {
        let value = match name.as_str() {
            "Principal" => value.get("AWS").unwrap_or(value),
            _ => value,
        };
        let mut list = match value {
            Value::Array(list) => list.clone(),
            one => vec![one.clone()],
        };
        list.sort_by_key(ToString::to_string);
        (name.clone(), Value::Array(list))
    });
    Value::Object(fields.collect())
}

#[cfg(test)]
mod tests;
