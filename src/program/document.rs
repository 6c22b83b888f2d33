//! What a program is given when it is not JSON: forms and XML, as one JSON document.
//!
//! A form is an object of texts; a name that comes several times has a list of them.
//! In XML an element is an object of what is in it, by local names: namespaces are passed over. Several of one name are a
//! list; an attribute's name begins with `@`; text beside elements or attributes is `#text`; an element with nothing but
//! text is that text, an empty one is empty text, and one that is `xsi:nil` is null.

use std::fmt;

use quick_xml::events::{BytesStart, Event};
use quick_xml::{Reader, XmlVersion};
use serde_json::{Map, Value as Json};

/// How deeply elements may nest.
pub const DEPTH_MAX: usize = 64;
/// Elements and fields that a document may have.
pub const PARTS_MAX: usize = 10_000;

/// Bytes that are no such document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable(String);

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Unreadable {}

fn unreadable<T>(reason: impl fmt::Display) -> Result<T, Unreadable> {
    Err(Unreadable(reason.to_string()))
}

/// Reads a form, `application/x-www-form-urlencoded`.
pub fn form(bytes: &[u8]) -> Result<Json, Unreadable> {
    let mut fields = Map::new();
    for (count, (name, value)) in url::form_urlencoded::parse(bytes).enumerate() {
        if count == PARTS_MAX {
            return unreadable(format_args!("a form may have {PARTS_MAX} fields"));
        }
        add(&mut fields, &name, Json::String(value.into_owned()));
    }
    Ok(Json::Object(fields))
}

/// Reads XML in UTF-8. A document type is refused, and with it every entity but the five that XML itself has.
pub fn xml(bytes: &[u8]) -> Result<Json, Unreadable> {
    let text = std::str::from_utf8(bytes).map_err(|error| Unreadable(format!("it is not UTF-8: {error}")))?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut reader = Reader::from_str(text);
    let mut open = vec![Element::default()];
    let mut parts = 0;
    loop {
        let event = reader
            .read_event()
            .map_err(|error| Unreadable(error.to_string()))?;
        match event {
            Event::Start(start) => {
                count(&mut parts)?;
                if open.len() > DEPTH_MAX {
                    return unreadable(format_args!("elements may nest {DEPTH_MAX} deep"));
                }
                open.push(Element::open(&start, &mut parts)?);
            }
            Event::Empty(start) => {
                count(&mut parts)?;
                let element = Element::open(&start, &mut parts)?;
                close(&mut open, element)?;
            }
            Event::End(_) => {
                let element = open.pop().unwrap_or_default();
                close(&mut open, element)?;
            }
            Event::Text(text) => said(
                &mut open,
                &text.xml10_content().map_err(|e| Unreadable(e.to_string()))?,
            ),
            Event::CData(text) => said(
                &mut open,
                &text.xml10_content().map_err(|e| Unreadable(e.to_string()))?,
            ),
            Event::GeneralRef(name) => {
                let character = name
                    .resolve_char_ref()
                    .map_err(|error| Unreadable(error.to_string()))?;
                let name = name.decode().map_err(|error| Unreadable(error.to_string()))?;
                match (character, quick_xml::escape::resolve_predefined_entity(&name)) {
                    (Some(character), _) => said(&mut open, character.encode_utf8(&mut [0; 4])),
                    (None, Some(text)) => said(&mut open, text),
                    (None, None) => return unreadable("it uses an entity that XML itself does not have"),
                }
            }
            Event::DocType(_) => return unreadable("it has a document type, which is not read"),
            Event::Comment(_) | Event::Decl(_) | Event::PI(_) => {}
            Event::Eof => break,
        }
    }
    let mut outermost = match (open.pop(), open.pop()) {
        (Some(outermost), None) => outermost,
        _ => return unreadable("it ends inside an element"),
    };
    if outermost.inside.len() != 1 || !outermost.text.trim().is_empty() {
        return unreadable("it is not one element");
    }
    Ok(Json::Object(std::mem::take(&mut outermost.inside)))
}

/// An element that is being read.
#[derive(Default)]
struct Element {
    name: String,
    inside: Map<String, Json>,
    text: String,
    nil: bool,
}

impl Element {
    fn open(start: &BytesStart<'_>, parts: &mut usize) -> Result<Element, Unreadable> {
        let local = |name: &[u8]| String::from_utf8_lossy(name).into_owned();
        let mut element = Element {
            name: local(start.local_name().as_ref()),
            ..Element::default()
        };
        for attribute in start.attributes() {
            count(parts)?;
            let attribute = attribute.map_err(|error| Unreadable(error.to_string()))?;
            let name = attribute.key;
            if name.as_namespace_binding().is_some() {
                continue;
            }
            let value = attribute.decoded_and_normalized_value(XmlVersion::Implicit1_0, start.decoder());
            let value = value.map_err(|error| Unreadable(error.to_string()))?;
            let name = local(name.local_name().as_ref());
            element.nil |= name == "nil" && value == "true";
            element
                .inside
                .insert(format!("@{name}"), Json::String(value.into_owned()));
        }
        Ok(element)
    }

    fn value(mut self) -> Json {
        let text = self.text.trim();
        if self.nil {
            return Json::Null;
        }
        if self.inside.is_empty() {
            return Json::String(text.to_owned());
        }
        if !text.is_empty() {
            self.inside
                .insert("#text".to_owned(), Json::String(text.to_owned()));
        }
        Json::Object(self.inside)
    }
}

fn count(parts: &mut usize) -> Result<(), Unreadable> {
    *parts += 1;
    match *parts > PARTS_MAX {
        true => unreadable(format_args!(
            "a document may have {PARTS_MAX} elements and attributes"
        )),
        false => Ok(()),
    }
}

fn said(open: &mut [Element], text: &str) {
    if let Some(element) = open.last_mut() {
        element.text.push_str(text);
    }
}

fn close(open: &mut [Element], element: Element) -> Result<(), Unreadable> {
    let Some(outer) = open.last_mut() else {
        return unreadable("it closes what it did not open");
    };
    let name = element.name.clone();
    add(&mut outer.inside, &name, element.value());
    Ok(())
}

/// Adds a value; one that is not the first of its name makes a list.
fn add(to: &mut Map<String, Json>, name: &str, value: Json) {
    match to.get_mut(name) {
        None => {
            to.insert(name.to_owned(), value);
        }
        Some(Json::Array(values)) => values.push(value),
        Some(first) => {
            let first = first.take();
            to.insert(name.to_owned(), Json::Array(vec![first, value]));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    /// A message of Salesforce, shortened: "Outbound Messaging" in its SOAP API Developer Guide.
    const OUTBOUND: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">
 <soapenv:Body>
  <notifications xmlns="http://soap.sforce.com/2005/09/outbound">
   <OrganizationId>00Dxx0000001gPFEAY</OrganizationId>
   <SessionId xsi:nil="true"/>
   <Notification>
    <Id>04lxx000000CaRpAAK</Id>
    <sObject xsi:type="sf:Opportunity" xmlns:sf="urn:sobject.enterprise.soap.sforce.com">
     <sf:Id>006xx000001Sv6AAAS</sf:Id><sf:Name>Sun &amp; Wind &#x26; <![CDATA[<more>]]></sf:Name>
    </sObject>
   </Notification>
  </notifications>
 </soapenv:Body>
</soapenv:Envelope>"#;

    #[test]
    fn an_outbound_message_is_a_document() {
        let message = xml(OUTBOUND.as_bytes()).unwrap();
        assert_eq!(
            message["Envelope"]["Body"]["notifications"],
            json!({
                "OrganizationId": "00Dxx0000001gPFEAY",
                "SessionId": null,
                "Notification": {"Id": "04lxx000000CaRpAAK", "sObject": {
                    "@type": "sf:Opportunity", "Id": "006xx000001Sv6AAAS", "Name": "Sun & Wind & <more>"}},
            })
        );
    }

    #[test]
    fn several_of_one_name_are_a_list() {
        assert_eq!(
            xml(b"<a><b>1</b><b/><b x='2'>3</b></a>").unwrap(),
            json!({"a": {"b": ["1", "", {"@x": "2", "#text": "3"}]}})
        );
        assert_eq!(
            form(b"name=Solar+park&tag=a&tag=b&tag=%C3%BC&empty=").unwrap(),
            json!({"name": "Solar park", "tag": ["a", "b", "\u{fc}"], "empty": ""})
        );
    }

    #[test]
    fn what_could_grow_or_lead_elsewhere_is_refused() {
        let bomb = r#"<!DOCTYPE a [<!ENTITY b "bbbb"><!ENTITY c "&b;&b;">]><a>&c;</a>"#;
        let deep = format!("{}{}", "<a>".repeat(DEPTH_MAX + 1), "</a>".repeat(DEPTH_MAX + 1));
        let wide = format!("<a>{}</a>", "<b/>".repeat(PARTS_MAX));
        for (text, reason) in [
            (bomb, "document type"),
            ("<a>&b;</a>", "entity"),
            (deep.as_str(), "nest"),
            (wide.as_str(), "10000"),
            ("<a><b></a>", "b"),
            ("<a>", "ends inside"),
            ("<a/><b/>", "one element"),
            ("text", "one element"),
            ("", "one element"),
        ] {
            let told = xml(text.as_bytes()).unwrap_err().to_string();
            assert!(told.contains(reason), "{told}");
        }
        assert!(xml(b"<a>\xff</a>").is_err());
        let long = "a=1&".repeat(PARTS_MAX + 1);
        assert!(form(long.as_bytes()).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_end(bytes in prop::collection::vec(any::<u8>(), 0..200), text in "[<>/a&;!=' \\[\\]#x-]{0,80}") {
            let _any = (xml(&bytes), form(&bytes), xml(text.as_bytes()));
        }
    }
}
