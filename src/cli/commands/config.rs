//! `narhaul config`: what every setting is, and where that comes from.

use clap::Args;

use crate::cli::{
    Context, cache,
    config::{Layers, Origin, SETTINGS},
    error::{Exit, Failure},
    resolve,
    ui::Format,
};

/// Print every setting with its origin
///
/// What is printed is a configuration file with the same values. A value that `copy` would refuse is
/// refused here too.
///
/// Example: narhaul config
#[derive(Debug, Args)]
pub struct ConfigArgs {
    /// As if this cache were copied to
    #[arg(long, value_name = "URL")]
    to: Option<String>,
}

/// Prints the settings.
pub fn run(context: &Context, args: &ConfigArgs) -> Result<Exit, Failure> {
    let mut layers = Layers::new(context)?;
    layers.set_flag("to", args.to.clone());
    if let Some(to) = layers.get("to") {
        let cache = cache::find_to(context, &layers, &to)?;
        resolve::add_url(&mut layers, &cache.url);
    }
    resolve::check(&layers)?;
    for setting in SETTINGS {
        let picked = layers.pick(setting);
        match context.ui.format() {
            Format::Words => {
                let line = match &picked {
                    Some(picked) => {
                        let value = toml_text(&picked.values);
                        format!("{} = {value} # {}\n", setting.name, origin(&picked.origin))
                    }
                    None => format!("# {}: {}\n", setting.name, setting.default),
                };
                context.ui.data(&line)?;
            }
            Format::Json => context.ui.event(
                "setting",
                serde_json::json!({
                    "name": setting.name,
                    "values": picked.as_ref().map(|picked| &picked.values),
                    "origin": picked.as_ref().map(|picked| origin(&picked.origin)),
                    "default": setting.default,
                }),
            )?,
        }
    }
    print_caches(context, &layers)?;
    Ok(Exit::Done)
}

/// Prints the caches that have names, as the table that they stand in.
fn print_caches(context: &Context, layers: &Layers<'_>) -> Result<(), Failure> {
    let (caches, file) = layers.caches();
    let file = file.display().to_string();
    if !caches.is_empty() {
        context.ui.data_in_words("\n[caches]\n")?;
    }
    for (name, url) in caches {
        // A name may hold a dot, which would begin a table if it were not quoted.
        let line = format!("{} = {} # {file}\n", quoted(name), quoted(url));
        context.ui.data_in_words(&line)?;
        let event = serde_json::json!({"name": name, "url": url, "origin": file});
        context.ui.event("cache", event)?;
    }
    Ok(())
}

fn origin(origin: &Origin) -> String {
    match origin {
        Origin::Flag => "the command line".to_owned(),
        Origin::Url => "the cache URL".to_owned(),
        Origin::Variable(name) => (*name).to_owned(),
        Origin::File(file) => file.display().to_string(),
    }
}

/// Writes values as TOML: JSON's strings and arrays are TOML's too.
fn toml_text(values: &[String]) -> String {
    match values {
        [value] => quoted(value),
        values => serde_json::json!(values).to_string(),
    }
}

fn quoted(text: &str) -> String {
    serde_json::json!(text).to_string()
}
