//! The reference of all commands, flags, settings, variables and exit codes, as Markdown.
//!
//! Made from what the program itself uses, so that it cannot be wrong; `docs/cli-reference.md` holds
//! it, and a test compares the two.

use clap::{Arg, Command, CommandFactory as _};

use crate::cli::{
    args::Cli,
    config::SETTINGS,
    env::{self, Reader},
    error::Exit,
};

const HEAD: &str = "# Reference of the command line

This file is made by `narhaul reference`; a test compares the two.

";

const EVENTS: &str = "## JSON events

With `--json`, standard output holds one JSON object per line; each has an `event`.
Errors in words go to standard error as always.
New fields may be added; a reader ignores what it does not know.

| event | when | fields |
|---|---|---|
| `progress` | once a second while a copy, a sweep or a signing runs | `phase` (`walk`, `probe`, `copy`; `census`, `condemn`, `bury`, `delete`; `sign`), `seconds`, `retries`, and for each of `walk`, `probe`, `pack`, `upload`, `commit`, `census`, `condemn`, `bury`, `delete`, `sign` an object with `items`, `bytes`, `itemsWanted`, `bytesWanted` (0 while not known) |
| `report` | at the end of `copy` | `dryRun`, `to`, `paths`, `present`, `bodiesReused`, `toUpload`, `published`, `bodies`, `narBytes`, `bodyBytes`, `resumedBytes` (of bodies, sent by an interrupted copy before), `seconds`, `requests` (sent, by verb), `connections` (opened; of buckets), `upstream` (paths left to one), `passed` and `passedBytes` (bodies of another cache that are passed on), `serverCopied` and `serverCopiedBytes` (those of them that the server copied by itself), `rootsCarried` and `pinsCarried` (with `--all`), `fromRequests` (to that cache), `failures` (each `path`, `why`), `stopped`, `warnings`, `rootRecord`, and with `--dry-run` `plan` (each `path`, `action`, `narSize`) |
| `step` | for each step of `init` | `step` (`bucket`, `nix-cache-info`, `reading`, `anonymous-read`, `ledger`, `uploads`, `expiry`), `state` (`done`, `would`, `already`, `not-asked`, `not-tried`, `unsupported`, `denied`, `conflict`, `failed`, `open`, `harmful`), `words`, `instead` (what to do, or null) |
| `report` | at the end of `init` | `dryRun`, `bucketMade`, `cacheInfoWritten`, `cacheInfo`, `differences`, `isHealthy` (no expiry rule breaks closures), `substituter`, `anonymousSubstituter`, `trustedPublicKeys` |
| `report` | at the end of `key generate` | `keyName`, `publicKey`, `secretKeyFile`, `publicKeyFile` |
| `report` | at the end of `sign` in a cache | `dryRun`, `cache`, `read`, `planned`, `written`, `settled` (by others, meanwhile), `absent`, `absentReferences`, `left` (each `path`, `why`), `stopped`, `seconds`, `requests`, `connections` |
| `report` | at the end of `sign` in a store | `dryRun`, `store`, `paths`, `planned`, `signed`, `seconds` |
| `report` | at the end of `sign --check` | `place`, `paths`, `signed`, `contentAddressed`, `forged`, `otherKeys`, `unsigned`, `untrusted` (each `path`, `trust`), `unreadable` (each `path`, `why`), `absent` |
| `report` | at the end of `sweep` | `dryRun`, `cache`, `run`, `began`, `narinfos`, `kept`, `buried`, `buriedBytes`, `spared`, `bodiesDeleted`, `deletedBytes`, `bodies`, `bodyBytes` (before the sweep), `condemned` (each `path`, `body`, `fileSize`, `reason`: `dead`, `dangling`, `broken`; `fate`: `buried`, `spared`, `vanished`, `left`), `deleted` (each `key`, `size`, `fate`: `deleted`, `kept`, `left`), `healed`, `missing` (each `path`, `neededBy`), `expired`, `aborted`, `companions`, `unreadable` (how many), `unread` (the first of them, and snapshots; each `key`, `path`, `why`), `notDeleted` (each `key`, `why`), `unknown`, `warnings`, `stopped`, `cost` (of what a dry run has found: `requests`, and of these `puts`, `lists`, `gets`, `deletes`; `provider`, `currency`, `once`, `savedEachMonth`), `seconds`, `requests`, `connections` |
| `report` | at the end of `sweep --undo` | `undone` (the sweep), `putBack`, `there`, `lost` (each `path`, `why`), `undeleted` |
| `report` | at the end of `diff` | `since`, `came`, `went` |
| `why` | at the end of `why`, and for each `--explain` | `path`, `verdict` (`stays`, `goes`, `absent`, `buried`), `chain` (from what stays by itself down to the path), `run` (of what is buried), `words` |
| `weight` | for each line of `du` | `kind` (`group`, `root`, `pin`, `young`, `goes`), `name`, `paths`, `bytes`, `alonePaths`, `aloneBytes` |
| `run` | for each line of `runs` | `run`, `began`, `paths`, `isAlive`, `condemned`, `buried`, `deleted` (dates, or null) |
| `report` | at the end of `pin` and `unpin` | `pin` (its name), `paths`, `until` (or null), `takenOff` |
| `pin` | for each pin of `pins` | `name`, `paths`, `until` (or null), `written`, `holds` |
| `root` | for each record of `roots` | `group`, `time`, `paths`, `record` |
| `setting` | for each setting of `config` | `name`, `values`, `origin`, `default` |
";

/// Returns the reference.
#[must_use]
pub fn markdown() -> String {
    let mut out = HEAD.to_owned();
    let mut root = Cli::command();
    root.build();
    out.push_str("## Commands\n\n");
    for command in visible(&root) {
        add_command(&mut out, command, 3);
    }
    out.push_str("### Flags of every command\n\n");
    for arg in root.get_arguments().filter(|arg| arg.is_global_set()) {
        add_arg(&mut out, arg);
    }
    out.push('\n');
    add_settings(&mut out);
    add_variables(&mut out);
    add_exit_codes(&mut out);
    out.push_str(EVENTS);
    out
}

fn visible(command: &Command) -> impl Iterator<Item = &Command> {
    command
        .get_subcommands()
        .filter(|command| !command.is_hide_set())
}

fn add_command(out: &mut String, command: &Command, depth: usize) {
    let name = command.get_bin_name().unwrap_or(command.get_name());
    add(out, &["#".repeat(depth).as_str(), " `", name, "`\n\n"]);
    let about = command.get_long_about().or_else(|| command.get_about());
    let about = about.map(ToString::to_string).unwrap_or_default();
    // The first line of the help has no full stop; as a paragraph it wants one.
    let (first, rest) = about.split_once("\n\n").unwrap_or((&about, ""));
    add(out, &[first, ".\n\n"]);
    for paragraph in rest.split("\n\n").filter(|text| !text.is_empty()) {
        match paragraph.strip_prefix("Example: ") {
            Some(example) => add(out, &["```\n", example, "\n```\n\n"]),
            None => add(out, &[&sentences(paragraph), "\n\n"]),
        }
    }
    let aliases: Vec<_> = command.get_visible_aliases().collect();
    if !aliases.is_empty() {
        add(out, &["Also called `", &aliases.join("`, `"), "`.\n\n"]);
    }
    let own = || {
        command
            .get_arguments()
            .filter(|arg| !arg.is_global_set() && !arg.is_hide_set())
            .filter(|arg| !matches!(arg.get_id().as_str(), "help" | "version"))
    };
    for arg in own() {
        add_arg(out, arg);
    }
    if own().next().is_some() {
        out.push('\n');
    }
    for command in visible(command) {
        add_command(out, command, depth + 1);
    }
}

fn add_arg(out: &mut String, arg: &Arg) {
    let mut names = Vec::new();
    if let Some(short) = arg.get_short() {
        names.push(format!("-{short}"));
    }
    if let Some(long) = arg.get_long() {
        names.push(format!("--{long}"));
    }
    let takes_value = arg.get_action().takes_values();
    let values = arg.get_value_names().unwrap_or_default();
    let value = values.first().map_or("VALUE", |value| value.as_str());
    let shown = match (names.is_empty(), takes_value) {
        (true, _) => value.to_owned(),
        (false, true) => format!("{} {value}", names.join(", ")),
        (false, false) => names.join(", "),
    };
    let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
    add(out, &["- `", &shown, "`: ", &help]);
    let choices: Vec<_> = arg
        .get_possible_values()
        .iter()
        .map(|choice| choice.get_name().to_owned())
        .collect();
    if takes_value && !choices.is_empty() {
        add(out, &[" (", &choices.join(", "), ")"]);
    }
    out.push('\n');
}

fn add_settings(out: &mut String) {
    out.push_str(
        "## Settings

A setting is taken from the first of these that has it: the flag, the cache URL's parameter, the environment variable, `narhaul.toml`, the default.
The file lies at `$XDG_CONFIG_HOME/narhaul/narhaul.toml` (`~/.config/narhaul/narhaul.toml`) unless `--config` or `NARHAUL_CONFIG` names another; its keys are the names below, and an unknown key is an error.
Of lists (`key-file`, `keep`, `roots-from`) the strongest place counts alone.
Its table `[caches]` gives names to cache URLs, such as `home = 's3://nix-cache?endpoint=…'`; a name can stand wherever a cache is named.

| name | what | URL parameter | variable | default |
|---|---|---|---|---|
",
    );
    for setting in SETTINGS {
        let parameter = match setting.parameter {
            Some("secret-key") => "`secret-key`, `secret-keys`".to_owned(),
            Some(name) => format!("`{name}`"),
            None => String::new(),
        };
        let variable = setting.variable;
        let variable = variable.map_or_else(String::new, |variable| format!("`{}`", variable.name));
        let (name, what, default) = (setting.name, setting.what, setting.default);
        let row = format!("| `{name}` | {what} | {parameter} | {variable} | {default} |\n");
        out.push_str(&row);
    }
    out.push('\n');
}

fn add_variables(out: &mut String) {
    out.push_str(
        "## Environment variables

A variable that is set to nothing counts as not set, unless it is a list of files.

| variable | what it does |
|---|---|
",
    );
    for variable in env::ALL {
        let by = match variable.reader {
            Reader::Ours => "",
            Reader::Sdk => " (read by the AWS SDK)",
        };
        add(
            out,
            &["| `", variable.name, "` | ", variable.what, by, " |\n"],
        );
    }
    out.push('\n');
}

fn add_exit_codes(out: &mut String) {
    out.push_str("## Exit codes\n\n| code | meaning |\n|--:|---|\n");
    for exit in Exit::ALL {
        let code = exit.code().to_string();
        add(out, &["| ", &code, " | ", exit.meaning(), " |\n"]);
    }
    out.push('\n');
}

/// One sentence per line, as all our Markdown has it.
fn sentences(paragraph: &str) -> String {
    paragraph.replace(". ", ".\n")
}

fn add(out: &mut String, pieces: &[&str]) {
    out.extend(pieces.iter().copied());
}
