//! `narhaul doctor`: looks a cache and its server over.
//!
//! The work is done by [`doctor`]; here its request is put together and its findings are laid out: a line
//! for what is as it should be, four for what is not.

use std::{fmt::Write as _, path::PathBuf, sync::Arc};

use clap::Args;
use serde_json::json;

use crate::{
    backend::{
        Backend,
        s3::{self, CredentialChoice, S3, S3Config},
    },
    cli::{
        Context, cache,
        commands::{copy, key},
        config::Layers,
        doctor_words::{Words, words},
        error::{Exit, Failure},
        run::id as new_id,
        site::{Access, HowArgs, Site},
        ui::{Format, Loudness},
        web,
    },
    doctor::{self, Finding, Patient, Report, Request, Verdict},
    ledger::{
        IntentId,
        capabilities::{Capabilities, ConditionalDelete, ConditionalPut},
    },
    nix::{
        cache_url::{CacheUrl, Location},
        signature::PublicKey,
    },
    setup::snippet::Snippet,
};

/// Examine a cache and its server, and say what is wrong
///
/// Looks at credentials, region, address, TLS and clocks, at the bucket's own rules, at `nix-cache-info`,
/// signatures and anonymous reading, and tries what the server does with writes: conditional ones in a
/// race, deletions of many, objects in parts, listings right after writes. Each finding says what it means
/// for narhaul and for Nix, and what to do.
///
/// What it writes lies below `narhaul/doctor/` and is removed again, 10 MiB in all; the result is kept in
/// `narhaul/capabilities`, where the key may write that. Ends with 0 if there is nothing worse than a note, with 5 if there are
/// warnings, and with 1 if there are failures.
///
/// Example: narhaul doctor 's3://nix-cache?endpoint=s3.homelab.local&profile=nixbuilder'
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// The cache: `s3://bucket?endpoint=…&profile=…`, or `file:///path` [env: NARHAUL_TO]
    url: Option<String>,

    /// Write nothing: what the server does with writes is not tried
    #[arg(long)]
    read_only: bool,

    /// Check signatures against this public key, as a client that trusts it
    #[arg(long, value_name = "FILE")]
    public_key_file: Vec<PathBuf>,

    /// Check signatures against these public keys, `name:base64`, as `nix.conf` has them
    #[arg(long, value_name = "KEYS")]
    trusted_public_keys: Vec<String>,

    /// Where clients read the cache, if not at the server: `https://…` of a CDN or of Garage's website
    #[arg(long, value_name = "URL")]
    reader: Option<String>,

    /// How the cache is asked.
    #[command(flatten)]
    how: HowArgs,
}

/// Examines a cache.
pub fn run(context: &Arc<Context>, args: &DoctorArgs) -> Result<Exit, Failure> {
    let layers = args.how.layers(context, args.url.as_deref())?;
    let site = Site::find(context, &layers, "doctor")?;
    refuse_web_server(&site)?;
    let request = request(context, args, &site.url)?;
    let access = if args.read_only {
        Access::Read
    } else {
        Access::Write
    };
    let (report, _) = site.visit(context, &layers, access, async |desk| {
        let patient = Patient {
            anonymous: match (&args.reader, &desk.bucket) {
                (Some(url), _) => Some(reader(context, url, &layers)?),
                (None, Some(bucket)) => stranger(&site.url, bucket).await,
                (None, None) => None,
            },
            dest: desk.dest,
            bucket: desk.bucket,
        };
        Ok(doctor::run(&patient, &request, &desk.stop).await)
    })?;
    tell(context, &site, &report)?;
    Ok(match report.worst() {
        _ if report.was_stopped => Exit::Interrupted,
        Verdict::Ok | Verdict::Note => Exit::Done,
        Verdict::Warning => Exit::Warned,
        Verdict::Failure => Exit::Failed,
    })
}

/// A web server tells nothing of the bucket behind it, not even what is there: nothing is listed.
fn refuse_web_server(site: &Site) -> Result<(), Failure> {
    let Location::Http(_) = &site.url.location else {
        return Ok(());
    };
    let (place, typed) = (&site.place, &site.typed);
    Err(Failure::usage(format!(
        "cannot examine `{place}`: a web server shows no more than what is asked for by name"
    ))
    .hint(format!(
        "name the bucket or folder behind it, and this as where clients read: \
         `narhaul doctor --reader '{typed}' 's3://bucket?endpoint=…'`"
    )))
}

fn request(context: &Context, args: &DoctorArgs, url: &CacheUrl) -> Result<Request, Failure> {
    let id = new_id()?;
    let id: IntentId = id
        .parse()
        .map_err(|error| Failure::bug("a random id is no name").because(&error))?;
    let prefix = matches!(
        &url.location,
        Location::S3 {
            prefix: Some(_),
            ..
        }
    );
    Ok(Request {
        id,
        is_read_only: args.read_only,
        typed_endpoint: url.params.endpoint.clone(),
        typed_region: url.params.region.clone(),
        has_prefix: prefix,
        trusted: trusted(args)?,
        store_dir: copy::store_dir(context, url)?,
        clock: context.clock.clone(),
    })
}

fn trusted(args: &DoctorArgs) -> Result<Vec<PublicKey>, Failure> {
    let mut keys = Vec::new();
    for file in &args.public_key_file {
        keys.push(key::read_public_key(file)?);
    }
    let texts = args
        .trusted_public_keys
        .iter()
        .flat_map(|text| text.split_whitespace());
    for text in texts {
        let key = text.parse().map_err(|error| {
            Failure::usage(format!("cannot use the public key `{text}`")).because(&error)
        })?;
        keys.push(key);
    }
    Ok(keys)
}

/// Opens the cache where clients read it.
fn reader(context: &Context, url: &str, layers: &Layers<'_>) -> Result<Arc<dyn Backend>, Failure> {
    let parsed = cache::find(context, layers, url)?.url;
    let Location::Http(address) = &parsed.location else {
        return Err(Failure::usage(format!(
            "`--reader {url}` is no `http(s)://` URL"
        )));
    };
    Ok(Arc::new(web::open(context, &parsed, address, layers)?))
}

/// Opens the bucket as somebody without credentials does. Whoever has none is one already.
async fn stranger(url: &CacheUrl, bucket: &S3) -> Option<Arc<dyn Backend>> {
    let config = S3Config {
        place: Snippet::new(url, &[])
            .anonymous
            .unwrap_or_else(|| url.show_place()),
        credentials: CredentialChoice::Anonymous,
        ..bucket.config().clone()
    };
    let opened = s3::open(config).await.ok()?;
    Some(Arc::new(opened))
}

fn tell(context: &Context, site: &Site, report: &Report) -> Result<(), Failure> {
    let spoken: Vec<(&Finding, Words)> = report
        .findings
        .iter()
        .map(|finding| (finding, words(finding, &site.typed)))
        .collect();
    match context.ui.format() {
        Format::Words => context
            .ui
            .data(&table(&spoken, context.ui.loudness() >= Loudness::Verbose))?,
        Format::Json => {
            for (finding, words) in &spoken {
                context.ui.event("finding", as_json(finding, words))?;
            }
            context.ui.event("report", summary(site, report))?;
        }
    }
    if report.was_stopped {
        context
            .ui
            .warn("the examination was interrupted: what it had not asked yet has no finding");
    }
    let counts: Vec<_> = counts(report)
        .into_iter()
        .filter(|(_, n)| *n > 0)
        .map(|(verdict, n)| match verdict {
            Verdict::Ok => format!("{n} ok"),
            other if n == 1 => format!("1 {}", other.name()),
            other => format!("{n} {}s", other.name()),
        })
        .collect();
    context
        .ui
        .say(&format!("`{}`: {}", site.place, counts.join(", ")));
    Ok(())
}

/// Counts findings by verdict, the harmless ones first.
fn counts(report: &Report) -> [(Verdict, usize); 4] {
    [
        Verdict::Ok,
        Verdict::Note,
        Verdict::Warning,
        Verdict::Failure,
    ]
    .map(|verdict| {
        let n = report.findings.iter();
        (verdict, n.filter(|one| one.verdict() == verdict).count())
    })
}

/// Lays findings out. What is as it should be is not explained, unless details are wanted.
fn table(spoken: &[(&Finding, Words)], is_verbose: bool) -> String {
    let widest = spoken
        .iter()
        .map(|(finding, _)| finding.topic().name().len());
    let widest = widest.max().unwrap_or(0);
    let mut text = String::new();
    for (finding, words) in spoken {
        let (topic, verdict) = (finding.topic().name(), finding.verdict());
        let name = verdict.name();
        // Writing to a text does not fail.
        writeln!(text, "{topic:widest$}  {name:7}  {}", words.seen).unwrap_or_default();
        if verdict == Verdict::Ok && !is_verbose {
            continue;
        }
        for (label, words) in [
            ("narhaul", &words.narhaul),
            ("Nix", &words.nix),
            ("to do", &words.action),
        ] {
            if !words.is_empty() {
                writeln!(text, "{:widest$}           {label}: {words}", "").unwrap_or_default();
            }
        }
    }
    text
}

fn as_json(finding: &Finding, words: &Words) -> serde_json::Value {
    let told = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    json!({
        "topic": finding.topic().name(),
        "verdict": finding.verdict().name(),
        "seen": words.seen,
        "narhaul": told(&words.narhaul),
        "nix": told(&words.nix),
        "toDo": told(&words.action),
    })
}

fn summary(site: &Site, report: &Report) -> serde_json::Value {
    let login = report.facts.login.as_ref();
    let [ok, notes, warnings, failures] = counts(report).map(|(_, n)| n);
    json!({
        "place": site.place,
        "verdict": report.worst().name(),
        "ok": ok,
        "notes": notes,
        "warnings": warnings,
        "failures": failures,
        "server": login.map(|login| login.provider.name()),
        "region": login.map(|login| login.region.clone()),
        "credentials": login.map(|login| login.source.to_string()),
        "capabilities": report.kept.as_ref().map(capabilities),
        "interrupted": report.was_stopped,
    })
}

fn capabilities(kept: &Capabilities) -> serde_json::Value {
    json!({
        "conditionalPut": match kept.conditional_put {
            ConditionalPut::Atomic => "atomic",
            ConditionalPut::Racy => "racy",
            ConditionalPut::Ignored => "ignored",
            ConditionalPut::Refused => "refused",
            ConditionalPut::Unknown => "unknown",
        },
        "conditionalDelete": match kept.conditional_delete {
            ConditionalDelete::Honored => "honored",
            ConditionalDelete::Ignored => "ignored",
            ConditionalDelete::Refused => "refused",
            ConditionalDelete::Unknown => "unknown",
        },
        "deletesBatches": kept.deletes_batches,
        "takesUnequalParts": kept.takes_unequal_parts,
        "listsWhatIsThere": kept.lists_what_is_there,
    })
}
