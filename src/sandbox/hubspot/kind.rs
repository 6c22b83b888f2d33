//! The kinds of objects a portal holds, and the many names a path may give them.

/// Contacts, companies and deals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Kind {
    Contact,
    Company,
    Deal,
}

impl Kind {
    pub(crate) const ALL: [Self; 3] = [Self::Contact, Self::Company, Self::Deal];

    /// Reads `contacts`, `contact`, `CONTACT` or `0-1`.
    pub(crate) fn named(name: &str) -> Option<Self> {
        let name = name.to_ascii_lowercase();
        Self::ALL
            .into_iter()
            .find(|kind| [kind.plural(), kind.singular(), kind.type_id()].contains(&name.as_str()))
    }

    pub(crate) fn singular(self) -> &'static str {
        match self {
            Self::Contact => "contact",
            Self::Company => "company",
            Self::Deal => "deal",
        }
    }

    pub(crate) fn plural(self) -> &'static str {
        match self {
            Self::Contact => "contacts",
            Self::Company => "companies",
            Self::Deal => "deals",
        }
    }

    pub(crate) fn type_id(self) -> &'static str {
        match self {
            Self::Contact => "0-1",
            Self::Company => "0-2",
            Self::Deal => "0-3",
        }
    }

    /// The singular with a capital, as messages begin with it.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Contact => "Contact",
            Self::Company => "Company",
            Self::Deal => "Deal",
        }
    }

    /// The property that holds the moment of the last write. It is a trap: contacts spell it differently.
    pub(crate) fn modified(self) -> &'static str {
        match self {
            Self::Contact => "lastmodifieddate",
            Self::Company | Self::Deal => "hs_lastmodifieddate",
        }
    }

    /// The properties told when none are asked for.
    pub(crate) fn defaults(self) -> &'static [&'static str] {
        match self {
            Self::Contact => &[
                "createdate",
                "email",
                "firstname",
                "hs_object_id",
                "lastmodifieddate",
                "lastname",
            ],
            Self::Company => &[
                "createdate",
                "domain",
                "hs_lastmodifieddate",
                "hs_object_id",
                "name",
            ],
            Self::Deal => &[
                "amount",
                "closedate",
                "createdate",
                "dealname",
                "dealstage",
                "hs_lastmodifieddate",
                "hs_object_id",
                "pipeline",
            ],
        }
    }

    /// The properties a search's free text looks at.
    pub(crate) fn searchable(self) -> &'static [&'static str] {
        match self {
            Self::Contact => &[
                "firstname",
                "lastname",
                "email",
                "phone",
                "mobilephone",
                "company",
            ],
            Self::Company => &["website", "phone", "name", "domain"],
            Self::Deal => &["dealname", "pipeline", "dealstage", "description", "dealtype"],
        }
    }

    /// The position in arrays with one entry per kind.
    pub(crate) fn at(self) -> usize {
        self as usize
    }
}
