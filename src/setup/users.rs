//! The commands that make a cache's users, by the tools that its server has.
//!
//! narhaul makes no users itself: each server has an interface of its own for that, and for MinIO's there
//! is no maintained crate. A cache and its server's kind come in, lines for a shell go out, to be read
//! before they are run.

use std::fmt::Write as _;

use super::policy::Role;

/// Whose commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tools {
    /// `aws iam`.
    Aws,
    /// `garage`.
    Garage,
    /// `mc admin`.
    Mc,
}

/// The cache that the users are for.
#[derive(Clone, Debug)]
pub struct Cache<'a> {
    /// Its URL, as narhaul takes it.
    pub url: &'a str,
    /// The server, as `https://…`; none for AWS.
    pub endpoint: Option<&'a str>,
    /// The bucket.
    pub bucket: &'a str,
    /// What the machines that copy are called.
    pub writer: &'a str,
}

/// Returns the commands that make a writer and a sweeper.
#[must_use]
pub fn commands(tools: Tools, cache: &Cache<'_>) -> String {
    let sweeper = format!("{}-sweep", cache.writer);
    let users = [(Role::Writer, cache.writer), (Role::Sweeper, &*sweeper)];
    let mut text = String::new();
    // Writing to a text cannot fail.
    head(&mut text, tools, cache).ok();
    for (role, user) in users {
        one(&mut text, tools, cache, role, user).ok();
    }
    text
}

fn head(text: &mut String, tools: Tools, cache: &Cache<'_>) -> std::fmt::Result {
    match tools {
        Tools::Aws => writeln!(text, "# AWS, as an administrator of the account"),
        Tools::Garage => writeln!(
            text,
            "# Garage, on one of its nodes. It knows read, write and owner of whole buckets, so that who\n\
             # writes may delete, and nothing keeps writer and sweeper apart.\n\
             # If the bucket was made through S3, it has no common name yet: `garage bucket alias ID {}`.",
            cache.bucket
        ),
        Tools::Mc => {
            writeln!(
                text,
                "# MinIO, as its administrator; `mc` is MinIO's client"
            )?;
            let endpoint = cache.endpoint.unwrap_or("https://s3.example.org");
            writeln!(text, "mc alias set cache {endpoint} ADMIN-KEY ADMIN-SECRET")
        }
    }
}

fn one(
    text: &mut String,
    tools: Tools,
    cache: &Cache<'_>,
    role: Role,
    user: &str,
) -> std::fmt::Result {
    let (bucket, url) = (cache.bucket, quoted(cache.url));
    let (role, file) = (role.name(), format!("{bucket}-{}.json", role.name()));
    writeln!(text)?;
    if tools != Tools::Garage {
        writeln!(text, "narhaul init {url} --print-policy {role} > {file}")?;
    }
    match tools {
        Tools::Aws => writeln!(
            text,
            "aws iam create-user --user-name {user}\n\
             aws iam put-user-policy --user-name {user} --policy-name {bucket}-{role} --policy-document file://{file}\n\
             aws iam create-access-key --user-name {user}"
        ),
        Tools::Garage => writeln!(
            text,
            "garage key create {user}\n\
             garage bucket allow --read --write {bucket} --key {user}"
        ),
        Tools::Mc => writeln!(
            text,
            "mc admin user add cache {user} SECRET\n\
             mc admin policy create cache {bucket}-{role} {file}\n\
             mc admin policy attach cache {bucket}-{role} --user {user}"
        ),
    }
}

/// Quotes a URL for a shell: `&` and `?` mean something there.
fn quoted(url: &str) -> String {
    format!("'{}'", url.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_server_has_its_own_commands() {
        let cache = Cache {
            url: "s3://nix-cache?endpoint=s3.homelab.local",
            endpoint: Some("https://s3.homelab.local"),
            bucket: "nix-cache",
            writer: "nixbuilder",
        };
        insta::assert_snapshot!(commands(Tools::Mc, &cache), @r"
    # MinIO, as its administrator; `mc` is MinIO's client
    mc alias set cache https://s3.homelab.local ADMIN-KEY ADMIN-SECRET

    narhaul init 's3://nix-cache?endpoint=s3.homelab.local' --print-policy writer > nix-cache-writer.json
    mc admin user add cache nixbuilder SECRET
    mc admin policy create cache nix-cache-writer nix-cache-writer.json
    mc admin policy attach cache nix-cache-writer --user nixbuilder

    narhaul init 's3://nix-cache?endpoint=s3.homelab.local' --print-policy sweeper > nix-cache-sweeper.json
    mc admin user add cache nixbuilder-sweep SECRET
    mc admin policy create cache nix-cache-sweeper nix-cache-sweeper.json
    mc admin policy attach cache nix-cache-sweeper --user nixbuilder-sweep
    ");
        insta::assert_snapshot!(commands(Tools::Garage, &cache), @r"
    # Garage, on one of its nodes. It knows read, write and owner of whole buckets, so that who
    # writes may delete, and nothing keeps writer and sweeper apart.
    # If the bucket was made through S3, it has no common name yet: `garage bucket alias ID nix-cache`.

    garage key create nixbuilder
    garage bucket allow --read --write nix-cache --key nixbuilder

    garage key create nixbuilder-sweep
    garage bucket allow --read --write nix-cache --key nixbuilder-sweep
    ");
        insta::assert_snapshot!(commands(Tools::Aws, &cache), @r"
    # AWS, as an administrator of the account

    narhaul init 's3://nix-cache?endpoint=s3.homelab.local' --print-policy writer > nix-cache-writer.json
    aws iam create-user --user-name nixbuilder
    aws iam put-user-policy --user-name nixbuilder --policy-name nix-cache-writer --policy-document file://nix-cache-writer.json
    aws iam create-access-key --user-name nixbuilder

    narhaul init 's3://nix-cache?endpoint=s3.homelab.local' --print-policy sweeper > nix-cache-sweeper.json
    aws iam create-user --user-name nixbuilder-sweep
    aws iam put-user-policy --user-name nixbuilder-sweep --policy-name nix-cache-sweeper --policy-document file://nix-cache-sweeper.json
    aws iam create-access-key --user-name nixbuilder-sweep
    ");
    }
}
