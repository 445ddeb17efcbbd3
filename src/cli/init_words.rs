//! The words of `narhaul init`: what each step found and did, and what to do where a server cannot.
//!
//! A step is one [`Step`], from which both forms come: a line for people, an event for programs.

use crate::{
    backend::{Created, Expiry, s3::Provider},
    cli::{
        Context,
        error::{Exit, Failure},
    },
    nix::cache_info::DEFAULT_PRIORITY,
    setup::{
        Difference, Outcome, Report, Settings,
        reading::{Access, Check, Reading, Way},
        removal::{Expiries, UPLOAD_DAYS, Uploads},
        snippet::Snippet,
    },
};

/// What the words depend on beside the report.
#[derive(Clone, Copy, Debug)]
pub struct Look<'a> {
    /// The cache, as people write it.
    pub place: &'a str,
    /// The URL as it was typed.
    pub typed: &'a str,
    /// Whose server it is, if it is a bucket.
    pub provider: Option<Provider>,
    /// Where somebody without credentials looks.
    pub anonymous: Option<&'a str>,
    /// Whether nothing was to be changed.
    pub is_dry_run: bool,
}

/// What became of one step.
struct Step {
    /// Its name in events.
    name: &'static str,
    /// What became of it, in one word.
    state: &'static str,
    /// The same for people.
    words: String,
    /// What to do instead.
    instead: Option<String>,
    /// Whether it is a warning.
    is_warning: bool,
}

impl Step {
    fn new(name: &'static str, state: &'static str, words: impl Into<String>) -> Self {
        Self {
            name,
            state,
            words: words.into(),
            instead: None,
            is_warning: false,
        }
    }

    fn instead(mut self, instead: impl Into<String>) -> Self {
        self.instead = Some(instead.into());
        self
    }

    fn warning(mut self) -> Self {
        self.is_warning = true;
        self
    }
}

/// Tells what each step found and did.
pub fn tell(context: &Context, report: &Report, look: &Look<'_>) -> Result<(), Failure> {
    let mut steps = vec![bucket(report, look), cache_info(report, look)];
    let first: Vec<_> = steps.iter().map(|step| &*step.words).collect();
    context.ui.say(&first.join("; "));
    if let Outcome::Kept { differences, .. } = &report.cache_info {
        for difference in differences {
            let text = format!("nix-cache-info: {}", words(difference));
            context.ui.warn(&text);
        }
    }
    let more = report.settings.as_ref().map(|found| settings(found, look));
    let is_unseen = look.is_dry_run && look.provider.is_some() && report.settings.is_none();
    let unseen = is_unseen.then(|| {
        let words =
            "what the server makes of reading and of rules is not known before the bucket is there";
        Step::new("rules", "unknown", words)
    });
    for step in more.into_iter().flatten().chain(unseen) {
        let text = match &step.instead {
            Some(instead) => format!("{}; {instead}", step.words),
            None => step.words.clone(),
        };
        if step.is_warning {
            context.ui.warn(&text);
        } else {
            context.ui.say(&text);
        }
        steps.push(step);
    }
    for step in steps {
        context.ui.event(
            "step",
            serde_json::json!({
                "step": step.name,
                "state": step.state,
                "words": step.words,
                "instead": step.instead,
            }),
        )?;
    }
    Ok(())
}

fn bucket(report: &Report, look: &Look<'_>) -> Step {
    let place = look.place;
    match (report.bucket, look.is_dry_run) {
        (Created::Made, false) => Step::new("bucket", "done", format!("made `{place}`")),
        (Created::Made, true) => Step::new("bucket", "would", format!("would make `{place}`")),
        (Created::AlreadyThere, _) => Step::new("bucket", "already", format!("`{place}` is there")),
    }
}

fn cache_info(report: &Report, look: &Look<'_>) -> Step {
    let name = "nix-cache-info";
    match (&report.cache_info, look.is_dry_run) {
        (Outcome::Written(_), false) => Step::new(name, "done", "wrote its nix-cache-info"),
        (Outcome::Written(_), true) => Step::new(name, "would", "would write its nix-cache-info"),
        (Outcome::Kept { .. }, _) => {
            Step::new(name, "already", "its nix-cache-info was left as it is")
        }
    }
}

fn words(difference: &Difference) -> String {
    match difference {
        Difference::NoPriority => format!(
            "{difference}; add the line `Priority: {DEFAULT_PRIORITY}` if that is not meant"
        ),
        Difference::StoreDir { .. } | Difference::NoMassQuery | Difference::Priority { .. } => {
            difference.to_string()
        }
    }
}

fn settings(found: &Settings, look: &Look<'_>) -> Vec<Step> {
    let mut steps = vec![reading(&found.access, look)];
    steps.extend(check(&found.access, look));
    if found.access.shows_ledger {
        let words = "everybody can read narhaul's own files too, which say what machines hold";
        let step = Step::new("ledger", "open", words).warning();
        steps.push(
            step.instead("narrow the bucket's policy to what `--print-policy reader` prints"),
        );
    }
    steps.push(uploads(&found.uploads, look));
    steps.push(expiries(&found.expiries));
    steps
}

fn reading(access: &Access, look: &Look<'_>) -> Step {
    let step = |state, words: &str| Step::new("reading", state, words);
    let would = look.is_dry_run;
    let by_hand = format!(
        "let the bucket's owner set this policy: `narhaul init '{}' --print-policy reader --principal '*'`",
        look.typed
    );
    match &access.reading {
        Reading::NotAsked if access.check == Check::Readable => {
            step("not-asked", "everybody can read it")
        }
        Reading::NotAsked => step("not-asked", "it was not opened to everybody")
            .instead("`--public` lets everybody read what Nix reads"),
        Reading::Set(Way::Policy) if would => step(
            "would",
            "would let everybody read what Nix reads, by the bucket's policy",
        ),
        Reading::Set(Way::Policy) => step(
            "done",
            "let everybody read what Nix reads, by the bucket's policy",
        ),
        Reading::Set(Way::Website) if would => step(
            "would",
            "would make the bucket a website, which shows everybody all of it, narhaul's own files too",
        ),
        Reading::Set(Way::Website) => step(
            "done",
            "made the bucket a website, which shows everybody all of it, narhaul's own files too",
        ),
        Reading::AlreadySo(Way::Policy) => {
            step("already", "the bucket's policy lets everybody read it")
        }
        Reading::AlreadySo(Way::Website) => step(
            "already",
            "the bucket is a website, which shows everybody all of it, narhaul's own files too",
        ),
        Reading::Conflict => step(
            "conflict",
            "the bucket's policy has a statement of narhaul's name that says something else, and was left alone",
        )
        .instead("remove that statement and run this again")
        .warning(),
        Reading::Unreadable(why) => step(
            "conflict",
            &format!("the bucket's policy cannot be understood, and was left alone: {why}"),
        )
        .instead(by_hand)
        .warning(),
        Reading::Denied(why) => step(
            "denied",
            &format!("everybody's reading could not be allowed: {}", said(why)),
        )
        .instead(match look.provider {
            Some(Provider::Aws) => format!(
                "turn off `BlockPublicPolicy` of the bucket and of the account if that is meant, or {by_hand}"
            ),
            _ => by_hand,
        })
        .warning(),
        Reading::Unsupported(why) => step(
            "unsupported",
            &format!("this server cannot let everybody read a bucket: {}", said(why)),
        )
        .instead("put a CDN or a web server with a reader's keys in front, and name it by `--public-url`")
        .warning(),
    }
}

/// A server that says nothing says no.
fn said(why: &str) -> &str {
    if why.is_empty() {
        "it says no more"
    } else {
        why
    }
}

fn check(access: &Access, look: &Look<'_>) -> Option<Step> {
    let at = look.anonymous.unwrap_or_default();
    let is_open = matches!(access.reading, Reading::Set(_) | Reading::AlreadySo(_));
    let step = |state, words: String| Step::new("anonymous-read", state, words);
    match &access.check {
        Check::Readable => Some(step(
            "done",
            format!("`{at}` answers readers without credentials"),
        )),
        Check::Failed(why) if is_open || look.anonymous_was_named(access) => {
            let words = format!("`{at}` does not answer readers without credentials: {why}");
            Some(step("failed", words).warning())
        }
        Check::NotTried if is_open && !look.is_dry_run => {
            let words =
                "where readers without credentials find it is not known, so it was not tried";
            Some(step("not-tried", words.to_owned()).instead(
                "name the website by `--public-url http://BUCKET.WEB-DOMAIN`; Garage finds a bucket that \
                 was made through S3 only after `garage bucket alias ID BUCKET`",
            ))
        }
        Check::Failed(_) | Check::NotTried => None,
    }
}

impl Look<'_> {
    /// Whether somebody meant it to be read there.
    fn anonymous_was_named(&self, access: &Access) -> bool {
        access.reading != Reading::NotAsked && self.anonymous.is_some()
    }
}

fn uploads(uploads: &Uploads, look: &Look<'_>) -> Step {
    let step = |state, words: String| Step::new("uploads", state, words);
    let instead = "a sweep drops the old ones";
    match uploads {
        Uploads::Set if look.is_dry_run => step(
            "would",
            format!("would have unfinished uploads dropped after {UPLOAD_DAYS} days, if the server can"),
        ),
        Uploads::Set => step(
            "done",
            format!("unfinished uploads are dropped after {UPLOAD_DAYS} days"),
        ),
        Uploads::AlreadySo => step(
            "already",
            "unfinished uploads are dropped by a rule of the bucket".to_owned(),
        ),
        Uploads::Unsupported(_) if look.provider == Some(Provider::MinIo) => step(
            "unsupported",
            "unfinished uploads are dropped after a day by MinIO itself, which takes no rule for it"
                .to_owned(),
        ),
        Uploads::Unsupported(why) => step(
            "unsupported",
            format!("this server takes no rule for unfinished uploads: {}", said(why)),
        )
        .instead(instead),
        Uploads::Denied(why) => step(
            "denied",
            format!(
                "these credentials may not set a rule for unfinished uploads: {}",
                said(why)
            ),
        )
        .instead(instead),
    }
}

fn expiries(expiries: &Expiries) -> Step {
    let step = |state, words: &str| Step::new("expiry", state, words);
    match expiries {
        Expiries::Told(rules) if rules.is_empty() => {
            step("already", "no rule of the bucket removes what is in use")
        }
        Expiries::Told(rules) => step(
            "harmful",
            &format!("the rule `{}` removes objects by their age alone", rules[0].id),
        )
        .warning(),
        Expiries::Denied => step(
            "denied",
            "whether a rule of the bucket removes what is in use cannot be seen: these credentials need \
             `s3:GetLifecycleConfiguration`",
        )
        .warning(),
        Expiries::Unsupported => step(
            "unsupported",
            "this server does not tell its rules, if it has any",
        ),
    }
}

/// Says how the run ends: whoever asked for everybody's reading and did not get it has to know, and a
/// bucket that eats its closures is not healthy.
pub fn judge(report: &Report, look: &Look<'_>, is_public: bool) -> Result<Exit, Failure> {
    let Some(settings) = &report.settings else {
        return Ok(Exit::Done);
    };
    if let Some(rule) = settings.expiries.harmful().first() {
        return Err(unhealthy(rule, look));
    }
    let access = &settings.access;
    let is_open = matches!(access.reading, Reading::Set(_) | Reading::AlreadySo(_));
    let is_shut = !is_open || matches!(access.check, Check::Failed(_));
    Ok(if is_public && is_shut {
        Exit::Partly
    } else {
        Exit::Done
    })
}

fn unhealthy(rule: &Expiry, look: &Look<'_>) -> Failure {
    let all = match &*rule.prefix {
        "" => "every object".to_owned(),
        prefix => format!("what begins with `{prefix}`"),
    };
    let window = rule
        .days
        .map_or_else(String::new, |days| format!(" --window {days}d"));
    let failure = Failure::new(format!(
        "refusing to call `{}` healthy beside the bucket's expiry rule `{}`",
        look.place, rule.id
    ))
    .cause(format!(
        "the rule deletes {all} by its age alone, in use or not: it breaks closures, and eats the ledger \
         that says what is in use"
    ))
    .hint(format!("remove the rule `{}` from the bucket", rule.id))
    .hint(format!("run instead, every night: `narhaul sweep '{}'{window}`", look.typed));
    Failure {
        exit: Exit::Partly,
        ..failure
    }
}

/// The report of a whole run.
pub fn as_json(report: &Report, snippet: &Snippet, is_dry_run: bool) -> serde_json::Value {
    let info = report.cache_info.cache_info();
    let differences: Vec<String> = match &report.cache_info {
        Outcome::Written(_) => Vec::new(),
        Outcome::Kept { differences, .. } => differences.iter().map(ToString::to_string).collect(),
    };
    serde_json::json!({
        "dryRun": is_dry_run,
        "bucketMade": report.bucket == Created::Made,
        "cacheInfoWritten": matches!(report.cache_info, Outcome::Written(_)),
        "cacheInfo": {
            "storeDir": info.store_dir.as_ref().map(ToString::to_string),
            "wantMassQuery": info.want_mass_query,
            "priority": info.priority,
        },
        "differences": differences,
        "isHealthy": report
            .settings
            .as_ref()
            .is_none_or(|settings| settings.expiries.harmful().is_empty()),
        "substituter": snippet.substituter,
        "anonymousSubstituter": snippet.anonymous,
        "trustedPublicKeys": snippet.public_keys,
    })
}
