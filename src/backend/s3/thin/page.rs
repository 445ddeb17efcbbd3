//! Reads a page of a listing, in one pass over its XML.
//!
//! Not by way of `serde`: its deserializer cuts the blanks off a name's ends, which are part of it, and
//! takes about twice as long.

use quick_xml::{
    Reader,
    escape::resolve_predefined_entity,
    events::{BytesRef, Event},
};

/// The answer to a LIST, as far as it matters.
#[derive(Debug, Default)]
pub(super) struct Page {
    pub(super) contents: Vec<Content>,
    /// The prefixes that keys have in common.
    pub(super) folders: Vec<String>,
    pub(super) is_truncated: Option<bool>,
    pub(super) token: Option<String>,
    /// Whether names are encoded as in URLs.
    pub(super) is_encoded: bool,
}

/// What a listing says about an object.
#[derive(Debug, Default)]
pub(super) struct Content {
    pub(super) key: String,
    pub(super) etag: Option<String>,
    pub(super) size: Option<u64>,
    pub(super) last_modified: Option<String>,
}

/// Where in a page we are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Contents,
    CommonPrefixes,
    Other,
}

/// Reads a page; fails with what is wrong with it.
pub(super) fn read(xml: &[u8]) -> Result<Page, String> {
    let mut reader = Reader::from_reader(xml);
    reader.config_mut().expand_empty_elements = true;
    let mut page = Page::default();
    let (mut depth, mut place, mut text) = (0_usize, Place::Other, String::new());
    loop {
        let event = reader.read_event().map_err(|source| source.to_string())?;
        match event {
            Event::Start(start) => {
                depth += 1;
                text.clear();
                match depth {
                    1 if start.local_name().as_ref() != b"ListBucketResult" => {
                        return Err("the answer is no listing".to_owned());
                    }
                    2 => place = page.enter(start.local_name().as_ref()),
                    _ => {}
                }
            }
            Event::Text(piece) => {
                text.push_str(&piece.decode().map_err(|source| source.to_string())?);
            }
            Event::CData(piece) => {
                text.push_str(&piece.decode().map_err(|source| source.to_string())?);
            }
            Event::GeneralRef(name) => push_entity(&mut text, &name)?,
            Event::End(end) => {
                match depth {
                    2 => page.take(end.local_name().as_ref(), &mut text)?,
                    3 => page.take_inner(place, end.local_name().as_ref(), &mut text)?,
                    _ => {}
                }
                depth -= 1; // The reader has matched it to its beginning.
                if depth == 0 {
                    return Ok(page);
                }
            }
            Event::Eof => return Err("the answer is cut off".to_owned()),
            _ => {}
        }
    }
}

impl Page {
    /// Goes into an element of the page itself.
    fn enter(&mut self, name: &[u8]) -> Place {
        match name {
            b"Contents" => {
                self.contents.push(Content::default());
                Place::Contents
            }
            b"CommonPrefixes" => Place::CommonPrefixes,
            _ => Place::Other,
        }
    }

    /// Takes the text of an element of the page itself.
    fn take(&mut self, name: &[u8], text: &mut String) -> Result<(), String> {
        match name {
            b"IsTruncated" => self.is_truncated = Some(parsed(text)?),
            // An empty one leads nowhere.
            b"NextContinuationToken" => {
                self.token = Some(std::mem::take(text)).filter(|token| !token.is_empty());
            }
            b"EncodingType" => self.is_encoded = text == "url",
            _ => {}
        }
        Ok(())
    }

    /// Takes the text of an element in one of its parts.
    fn take_inner(&mut self, place: Place, name: &[u8], text: &mut String) -> Result<(), String> {
        match (place, self.contents.last_mut()) {
            (Place::Contents, Some(content)) => match name {
                b"Key" => content.key = std::mem::take(text),
                b"ETag" => content.etag = Some(std::mem::take(text)),
                b"Size" => content.size = Some(parsed(text)?),
                b"LastModified" => content.last_modified = Some(std::mem::take(text)),
                _ => {}
            },
            (Place::CommonPrefixes, _) if name == b"Prefix" => {
                self.folders.push(std::mem::take(text));
            }
            _ => {}
        }
        Ok(())
    }
}

fn parsed<T: std::str::FromStr>(text: &str) -> Result<T, String> {
    let text = text.trim();
    text.parse().ok().ok_or_else(|| format!("it says `{text}`"))
}

fn push_entity(text: &mut String, name: &BytesRef<'_>) -> Result<(), String> {
    let char = name.resolve_char_ref();
    if let Some(char) = char.map_err(|source| source.to_string())? {
        text.push(char);
        return Ok(());
    }
    let name = name.decode().map_err(|source| source.to_string())?;
    let known = resolve_predefined_entity(&name).ok_or_else(|| format!("it says `&{name};`"))?;
    text.push_str(known);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listing(inner: &str) -> Result<Page, String> {
        read(format!("<ListBucketResult>{inner}</ListBucketResult>").as_bytes())
    }

    #[test]
    fn a_page_of_any_server_is_read() {
        let xml = "\u{feff}<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\n\
                   <ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\n\
                   <CommonPrefixes><Prefix>a/</Prefix></CommonPrefixes>\
                   <Contents><Key>b</Key><ETag>&quot;e&#34;</ETag><Size> 7 </Size>\
                   <Owner><ID>o</ID><Key>no</Key></Owner><StorageClass/></Contents>\
                   <CommonPrefixes>\n<Prefix>c/</Prefix>\n</CommonPrefixes>\
                   <Contents><Key> d&amp;<![CDATA[<]]> </Key></Contents>\
                   <NextContinuationToken>t&#x2b;</NextContinuationToken><Prefix>no</Prefix>\
                   <IsTruncated>true</IsTruncated><EncodingType>url</EncodingType>\
                   </ListBucketResult>\n";
        let page = read(xml.as_bytes()).unwrap();
        assert_eq!(page.folders, ["a/", "c/"]);
        let keys: Vec<_> = page.contents.iter().map(|object| &*object.key).collect();
        assert_eq!(keys, ["b", " d&< "]);
        assert_eq!(page.contents[0].etag.as_deref(), Some("\"e\""));
        assert_eq!(page.contents[0].size, Some(7));
        assert_eq!(page.contents[1].size, None);
        assert_eq!(page.token.as_deref(), Some("t+"));
        assert_eq!((page.is_truncated, page.is_encoded), (Some(true), true));
        let empty = listing("<NextContinuationToken/>").unwrap();
        assert_eq!(empty.token, None);
    }

    #[test]
    fn what_is_no_whole_page_is_refused() {
        for inner in [
            "<IsTruncated>perhaps</IsTruncated>",
            "<Contents><Size>-1</Size></Contents>",
            "<Contents><Key>&what;</Key></Contents>",
            "<Contents></CommonPrefixes>",
        ] {
            assert!(listing(inner).is_err(), "{inner}");
        }
        for xml in ["", "<html/>", "<Error><Code>SlowDown</Code></Error>"] {
            assert!(read(xml.as_bytes()).is_err(), "{xml}");
        }
        let whole = b"<ListBucketResult><Contents><Key>a</Key></Contents></ListBucketResult>";
        for len in 0..whole.len() {
            assert!(read(&whole[..len]).is_err(), "{len}");
        }
        assert!(read(whole).is_ok());
    }
}
