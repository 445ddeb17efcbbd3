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
        let url = cache::parse_url(context, to.text())?;
        resolve::add_url(&mut layers, &url);
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
    Ok(Exit::Done)
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
        [value] => serde_json::json!(value).to_string(),
        values => serde_json::json!(values).to_string(),
    }
}
