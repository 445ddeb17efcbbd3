//! What a server is told to copy by itself, from one cache that it keeps to another.

/// An object of a cache, as its keeper finds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Who keeps it.
    pub keeper: Keeper,
    /// The bucket.
    pub bucket: String,
    /// Its whole key in that bucket.
    pub key: String,
    /// Its entity tag: another object under that key is not meant.
    pub etag: String,
}

/// A server, and who we are to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keeper {
    /// The server.
    pub endpoint: String,
    /// Our names, as one is known by an access key and by where that comes from; none for nobody.
    pub names: Vec<String>,
}

impl Keeper {
    /// Returns whether both are one server that knows us by one name, so that it may well do there what
    /// we may read here.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        self.endpoint == other.endpoint && self.names.iter().any(|name| other.names.contains(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_server_by_one_name_is_the_same() {
        let keeper = |endpoint: &str, names: &[&str]| Keeper {
            endpoint: endpoint.to_owned(),
            names: names.iter().map(|name| (*name).to_owned()).collect(),
        };
        let ours = keeper("http://s3", &["key K", "profile p"]);
        assert!(ours.is_same(&keeper("http://s3", &["key K", "profile q"])));
        assert!(ours.is_same(&keeper("http://s3", &["key L", "profile p"])));
        assert!(!ours.is_same(&keeper("http://s3", &["key L", "profile q"])));
        assert!(!ours.is_same(&keeper("http://s4", &["key K", "profile p"])));
        let nobody = keeper("http://s3", &[]);
        assert!(!nobody.is_same(&nobody));
    }
}
