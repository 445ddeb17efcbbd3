//! `narhaul key`: makes signing keys, byte-compatible with Nix's own.
//!
//! Two ways to make one. `generate` writes two files, the secret one with mode 0600, and never over an
//! old one; `generate-secret` is Nix's verb, for fingers and scripts that know it, and writes the
//! secret key to standard output, which therefore must not be a terminal. Why there are two stands in
//! `docs/design/0012-two-ways-to-make-a-key.md`.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use clap::{Args, Subcommand};

use crate::{
    cli::{
        Context,
        error::{self, Exit, Failure},
        ui::Format,
    },
    nix::signature::{KeyName, ParseError, PublicKey, SecretKey},
};

/// Longer than any key, by far: a mistyped `--key-file /dev/zero` must end.
const MAX_KEY_FILE: u64 = 64 << 10;

/// Make signing keys, or print a key's public half
#[derive(Debug, Args)]
pub struct KeyArgs {
    #[command(subcommand)]
    act: Act,
}

#[derive(Debug, Subcommand)]
enum Act {
    /// Make a pair of keys in two files and print the public one
    ///
    /// The secret key goes to `NAME.secret`, which only you can read, the public key to `NAME.public`.
    /// Neither is ever overwritten. By convention the name is the cache's domain and a number, which
    /// grows when the key is replaced.
    ///
    /// Example: narhaul key generate cache.example.org-1
    Generate {
        /// The key's name
        name: String,
        /// Write the secret key to this file, and the public key beside it
        #[arg(long, short, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Write a new secret key to standard output, as `nix key generate-secret` does
    ///
    /// The file that you redirect to gets your umask's mode: `generate` is the safer way.
    ///
    /// Example: (umask 077; narhaul key generate-secret --key-name cache.example.org-1 > secret.key)
    GenerateSecret {
        /// The key's name
        #[arg(long, value_name = "NAME")]
        key_name: String,
    },
    /// Print the public half of a secret key
    ///
    /// Reads the secret key from standard input, or from a file.
    ///
    /// Example: narhaul key public < cache.example.org-1.secret
    #[command(visible_alias = "convert-secret-to-public")]
    Public {
        /// Read the secret key from this file
        #[arg(long, short, value_name = "FILE")]
        key_file: Option<PathBuf>,
    },
}

/// Makes keys, or prints the public half of one.
pub fn run(context: &Context, args: KeyArgs) -> Result<Exit, Failure> {
    match args.act {
        Act::Generate { name, out } => generate(context, &name, out)?,
        Act::GenerateSecret { key_name } => generate_secret(context, &key_name)?,
        Act::Public { key_file } => print_public(context, key_file.as_deref())?,
    }
    Ok(Exit::Done)
}

fn generate(context: &Context, name: &str, out: Option<PathBuf>) -> Result<(), Failure> {
    let key = new_key(name)?;
    let secret_file = match out {
        Some(file) => file,
        None if name.contains('/') => {
            return Err(
                Failure::usage(format!("cannot name a file after the key `{name}`"))
                    .hint("say where to write it: `--out FILE`"),
            );
        }
        None => PathBuf::from(format!("{name}.secret")),
    };
    let public_file = public_file_of(&secret_file);
    let public = key.to_public().to_string();
    let mut made = NewFiles::default();
    let mut secret_out = made.create(&secret_file, 0o600)?;
    let mut public_out = made.create(&public_file, 0o644)?;
    for (file, path, text) in [
        (&mut secret_out, &secret_file, key.to_secret_text()),
        (&mut public_out, &public_file, public.clone()),
    ] {
        file.write_all(text.as_bytes())
            .and_then(|()| file.sync_all())
            .map_err(|error| error::of_file("write", path, &error))?;
    }
    made.keep();
    let (secret_file, public_file) = (secret_file.display(), public_file.display());
    context.ui.say(&format!(
        "made key `{name}`: secret in `{secret_file}` (keep it), public in `{public_file}` (give it away)"
    ));
    match context.ui.format() {
        Format::Words => context.ui.data(&format!("{public}\n")),
        Format::Json => context.ui.event(
            "report",
            serde_json::json!({
                "keyName": name,
                "publicKey": public,
                "secretKeyFile": secret_file.to_string(),
                "publicKeyFile": public_file.to_string(),
            }),
        ),
    }
}

fn generate_secret(context: &Context, name: &str) -> Result<(), Failure> {
    if context.ui.has_terminal_output() {
        return Err(
            Failure::refused("refusing to print a secret key on a terminal")
                .hint(format!("write it to files: `narhaul key generate {name}`"))
                .hint("or send it to a file as with Nix: `… > secret.key`"),
        );
    }
    let key = new_key(name)?;
    warn_of_readers(context);
    context.ui.data(&key.to_secret_text())
}

fn print_public(context: &Context, key_file: Option<&Path>) -> Result<(), Failure> {
    let key = match key_file {
        Some(file) => read_secret_key(file)?,
        None => {
            let text = read_bounded(io::stdin().lock())
                .map_err(|error| Failure::new("cannot read standard input").because(&error))?;
            parse_secret_key(&text, "standard input")?
        }
    };
    // As Nix does it: no newline where a program or a file receives the key.
    let end = if context.ui.has_terminal_output() {
        "\n"
    } else {
        ""
    };
    context.ui.data(&format!("{}{end}", key.to_public()))
}

/// Reads a secret key's file.
pub fn read_secret_key(file: &Path) -> Result<SecretKey, Failure> {
    let text = File::open(file)
        .and_then(read_bounded)
        .map_err(|error| error::of_file("read the secret key", file, &error))?;
    parse_secret_key(&text, &format!("`{}`", file.display()))
}

/// Reads a public key's file.
pub fn read_public_key(file: &Path) -> Result<PublicKey, Failure> {
    let text = File::open(file)
        .and_then(read_bounded)
        .map_err(|error| error::of_file("read the public key", file, &error))?;
    text.trim_end().parse().map_err(|error| {
        let failure = Failure::new(format!("cannot use the public key in `{}`", file.display()))
            .because(&error);
        match error {
            ParseError::Length { found: 64, .. } => failure.hint(format!(
                "this is the length of a secret key: name it by `--key-file {}`",
                file.display()
            )),
            _ => failure,
        }
    })
}

fn parse_secret_key(text: &str, place: &str) -> Result<SecretKey, Failure> {
    text.parse().map_err(|error| error::of_key(place, &error))
}

fn read_bounded(file: impl io::Read) -> io::Result<String> {
    let mut text = String::new();
    file.take(MAX_KEY_FILE).read_to_string(&mut text)?;
    Ok(text)
}

fn new_key(name: &str) -> Result<SecretKey, Failure> {
    let name: KeyName = name.parse().map_err(|error| {
        Failure::usage(format!("cannot make a key named `{name}`"))
            .because(&error)
            .hint("by convention it is the cache's domain and a number: `cache.example.org-1`")
    })?;
    let mut seed = [0; 32];
    getrandom::fill(&mut seed)
        .map_err(|error| Failure::new("cannot get random bytes from the system").because(&error))?;
    Ok(SecretKey::from_seed(name, seed))
}

/// Puts `.public` in the place of `.secret`, `.sec` or `.key`, or behind anything else.
fn public_file_of(secret_file: &Path) -> PathBuf {
    let is_known = secret_file
        .extension()
        .is_some_and(|end| ["secret", "sec", "key"].iter().any(|known| end == *known));
    if is_known {
        secret_file.with_extension("public")
    } else {
        let mut name = secret_file.as_os_str().to_owned();
        name.push(".public");
        name.into()
    }
}

/// Warns if standard output is a file that others can read. It has been made by then, and its mode is
/// the shell's affair.
fn warn_of_readers(context: &Context) {
    let Ok(stat) = rustix::fs::fstat(io::stdout()) else {
        return;
    };
    let is_file = rustix::fs::FileType::from_raw_mode(stat.st_mode).is_file();
    if is_file && stat.st_mode & 0o077 != 0 {
        context.ui.warn(
            "others can read the file that the secret key goes to; `chmod 600` it, or use `narhaul key generate`",
        );
    }
}

/// Files that were made in this run and go away again unless all of them are whole.
#[derive(Debug, Default)]
struct NewFiles(Vec<PathBuf>);

impl NewFiles {
    fn create(&mut self, path: &Path, mode: u32) -> Result<File, Failure> {
        let made = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(path);
        match made {
            Ok(file) => {
                self.0.push(path.to_owned());
                Ok(file)
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(Failure::refused(
                format!("refusing to overwrite `{}`", path.display()),
            )
            .hint("a new key gets a new name, with a higher number at its end; or choose a file by `--out FILE`")),
            Err(error) => Err(error::of_file("create", path, &error)),
        }
    }

    fn keep(mut self) {
        self.0.clear();
    }
}

impl Drop for NewFiles {
    fn drop(&mut self) {
        for path in &self.0 {
            // What cannot be removed is told by the error that led here; there is no second one to give.
            fs::remove_file(path).unwrap_or_default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_public_file_lies_beside_the_secret_one() {
        for (secret, public) in [
            ("c-1.secret", "c-1.public"),
            ("/etc/nix/c.sec", "/etc/nix/c.public"),
            ("secret.key", "secret.public"),
            ("cache.example.org-1", "cache.example.org-1.public"),
        ] {
            assert_eq!(public_file_of(Path::new(secret)), Path::new(public));
        }
    }
}
