//! Names and passwords for web servers, as curl and Nix read them from a `netrc` file.
//!
//! Text in, the login of a host out. Known are `machine`, `default`, `login`, `password`, `account` and
//! `macdef`; values may be in double quotes, with backslashes. A file with anything else in it is read
//! as far as it makes sense, as curl does. Not here: reading the file.

use std::fmt;

/// Who we are to a web server.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    /// The user's name.
    pub name: String,
    /// The password.
    pub password: String,
}

/// Shows no secret.
impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// Returns the login of `host` in the text of a `netrc` file: that of its machine, or else the default.
#[must_use]
pub fn find_login(netrc: &str, host: &str) -> Option<Login> {
    let mut found: Option<Entry> = None;
    let mut words = Words(netrc);
    while let Some(word) = words.next() {
        match word.as_str() {
            "machine" | "default" => {
                if let Some(login) = found.take().and_then(Entry::login) {
                    return Some(login);
                }
                let is_ours = word == "default"
                    || words
                        .next()
                        .is_some_and(|name| name.eq_ignore_ascii_case(host));
                found = is_ours.then(Entry::default);
            }
            "macdef" => words.skip_macro(),
            "login" => set(found.as_mut().map(|entry| &mut entry.name), words.next()),
            "password" => set(
                found.as_mut().map(|entry| &mut entry.password),
                words.next(),
            ),
            "account" => drop(words.next()),
            _ => {}
        }
    }
    found.and_then(Entry::login)
}

fn set(field: Option<&mut Option<String>>, value: Option<String>) {
    if let Some(field) = field {
        *field = value;
    }
}

#[derive(Default)]
struct Entry {
    name: Option<String>,
    password: Option<String>,
}

impl Entry {
    /// An entry without a password is none: there is nobody to ask for it.
    fn login(self) -> Option<Login> {
        Some(Login {
            name: self.name.unwrap_or_default(),
            password: self.password?,
        })
    }
}

/// The words of a text, comments left out.
struct Words<'a>(&'a str);

impl Words<'_> {
    /// A macro ends at the next empty line.
    fn skip_macro(&mut self) {
        self.0 = self.0.find("\n\n").map_or("", |end| &self.0[end..]);
    }

    fn quoted(&mut self) -> String {
        let mut word = String::new();
        let mut rest = self.0.chars();
        while let Some(c) = rest.next() {
            match c {
                '"' => break,
                '\\' => word.extend(rest.next()),
                c => word.push(c),
            }
        }
        self.0 = rest.as_str();
        word
    }
}

impl Iterator for Words<'_> {
    type Item = String;

    fn next(&mut self) -> Option<String> {
        loop {
            self.0 = self.0.trim_start();
            if !self.0.starts_with('#') {
                break;
            }
            self.0 = self.0.find('\n').map_or("", |end| &self.0[end..]);
        }
        if self.0.is_empty() {
            return None;
        }
        if let Some(rest) = self.0.strip_prefix('"') {
            self.0 = rest;
            return Some(self.quoted());
        }
        let end = self.0.find(char::is_whitespace).unwrap_or(self.0.len());
        let (word, rest) = self.0.split_at(end);
        self.0 = rest;
        Some(word.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn login(netrc: &str, host: &str) -> Option<(String, String)> {
        find_login(netrc, host).map(|login| (login.name, login.password))
    }

    fn pair(name: &str, password: &str) -> Option<(String, String)> {
        Some((name.to_owned(), password.to_owned()))
    }

    #[test]
    fn the_machines_own_entry_is_found_or_the_default() {
        let netrc = "# mine\nmachine a.example login me password p#1\n\
                     machine b.example\n\tpassword \"p \\\"2\" login you\ndefault login x password y";
        assert_eq!(login(netrc, "a.example"), pair("me", "p#1"));
        assert_eq!(login(netrc, "B.example"), pair("you", "p \"2"));
        assert_eq!(login(netrc, "c.example"), pair("x", "y"));
        assert_eq!(login("machine a password p", "b"), None);
        assert_eq!(login("machine a login me", "a"), None);
    }

    #[test]
    fn macros_and_words_that_mean_nothing_are_passed_over() {
        let netrc = "macdef init\nmachine a login no password no\n\nmachine a port 1 password p";
        assert_eq!(login(netrc, "a"), pair("", "p"));
    }
}
