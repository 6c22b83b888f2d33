//! [`Failure`]: why a call to a system did not do what was asked, in a closed set of classes that each have one action;
//! [`RecordError`]: why one record of an otherwise good answer was refused.

use std::fmt;

use jiff::Timestamp;

/// How many characters of a system's own message are kept.
pub const MESSAGE_MAX: usize = 500;

/// Why a whole call failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Class {
    /// The access token ran out; the engine renews it once by itself.
    AuthExpired,
    /// The credentials are refused for good.
    AuthRevoked,
    /// The credentials are good, but lack a right.
    Permission,
    /// A short-term limit is reached.
    RateLimited {
        /// When a call may be tried again.
        until: Timestamp,
    },
    /// The share of a daily quota is spent.
    QuotaExhausted {
        /// When a call may be tried again.
        until: Timestamp,
    },
    /// The system is unwell for a moment.
    Transient,
    /// What was asked for is too much at once.
    TooLarge,
    /// The system does not know any more where reading stood.
    CursorExpired,
    /// A field that is asked for or written does not exist at the system any more.
    SchemaDrift {
        /// The field, if the system names it.
        field: Option<String>,
    },
    /// What was asked for does not exist.
    NotFound,
    /// The system refuses the values of a request.
    Validation,
    /// What is to be created exists already.
    Duplicate {
        /// The object that exists, if the system names it.
        existing_id: Option<String>,
    },
    /// Somebody else changed the record since it was read, or made one at the same moment: the values are not to blame.
    Conflict,
    /// The answer is not what the manifest describes.
    Protocol,
    /// The system could not be reached.
    Network,
    /// The connection's own settings are wrong or incomplete.
    Settings,
}

/// What to do about a class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Authorise the connection again; nothing works until then.
    Reconnect,
    /// Pause this object and ask an administrator of the system for the right.
    GrantRight,
    /// Try again later, without anybody's help.
    TryLater,
    /// Ask for less at once.
    AskLess,
    /// Read the system's fields again and go on without the missing one.
    Rediscover,
    /// Read the record again before writing it.
    ReadAgain,
    /// Correct the values or the mapping.
    CorrectValues,
    /// Correct the connection's settings.
    CorrectSettings,
    /// Report a defect of the manifest.
    ReportDefect,
}

impl Class {
    /// The one action of this class.
    pub fn action(&self) -> Action {
        match self {
            Class::AuthRevoked => Action::Reconnect,
            Class::Permission => Action::GrantRight,
            Class::AuthExpired
            | Class::RateLimited { .. }
            | Class::QuotaExhausted { .. }
            | Class::Transient
            | Class::CursorExpired
            | Class::Network => Action::TryLater,
            Class::TooLarge => Action::AskLess,
            Class::SchemaDrift { .. } => Action::Rediscover,
            Class::Conflict => Action::ReadAgain,
            Class::NotFound | Class::Validation | Class::Duplicate { .. } => Action::CorrectValues,
            Class::Settings => Action::CorrectSettings,
            Class::Protocol => Action::ReportDefect,
        }
    }

    /// Whether it is about the values of some record rather than about the connection.
    pub(crate) fn concerns_records(&self) -> bool {
        matches!(
            self,
            Class::Validation
                | Class::Duplicate { .. }
                | Class::Conflict
                | Class::NotFound
                | Class::SchemaDrift { field: None }
                | Class::TooLarge
        )
    }

    /// Whether a system that says this has answered for good: it has not carried the request out, and will not.
    pub(crate) fn is_final(&self) -> bool {
        match self {
            Class::RateLimited { .. }
            | Class::QuotaExhausted { .. }
            | Class::Transient
            | Class::TooLarge
            | Class::Network => false,
            Class::AuthExpired
            | Class::AuthRevoked
            | Class::Permission
            | Class::CursorExpired
            | Class::SchemaDrift { .. }
            | Class::NotFound
            | Class::Validation
            | Class::Duplicate { .. }
            | Class::Conflict
            | Class::Protocol
            | Class::Settings => true,
        }
    }

    /// The word for logs, metrics and the console.
    pub fn name(&self) -> &'static str {
        match self {
            Class::AuthExpired => "auth_expired",
            Class::AuthRevoked => "auth_revoked",
            Class::Permission => "permission",
            Class::RateLimited { .. } => "rate_limited",
            Class::QuotaExhausted { .. } => "quota_exhausted",
            Class::Transient => "transient",
            Class::TooLarge => "too_large",
            Class::CursorExpired => "cursor_expired",
            Class::SchemaDrift { .. } => "schema_drift",
            Class::NotFound => "not_found",
            Class::Validation => "validation",
            Class::Duplicate { .. } => "duplicate",
            Class::Conflict => "conflict",
            Class::Protocol => "protocol",
            Class::Network => "network",
            Class::Settings => "settings",
        }
    }

    fn advice(&self) -> String {
        match self {
            Class::AuthExpired => {
                "the access token ran out and renewing it did not help; it is tried again".to_owned()
            }
            Class::AuthRevoked => {
                "the system refuses the credentials: authorise the connection again".to_owned()
            }
            Class::Permission => {
                "the account lacks a right: ask an administrator of the system to grant it".to_owned()
            }
            Class::RateLimited { until } => {
                format!("the system's rate limit is reached: calls go on after {until}")
            }
            Class::QuotaExhausted { until } => {
                format!("our share of the system's quota is spent: calls go on after {until}")
            }
            Class::Transient => "the system is unwell for the moment: it is tried again".to_owned(),
            Class::TooLarge => "the request is too large for the system: it is split".to_owned(),
            Class::CursorExpired => {
                "the system does not know any more where reading stood: all is read again".to_owned()
            }
            Class::SchemaDrift { field: Some(field) } => {
                format!("the field `{field}` is gone or hidden: restore it, or take it out of the mapping")
            }
            Class::SchemaDrift { field: None } => {
                "a field is gone or hidden: compare the mapping with the system's fields".to_owned()
            }
            Class::NotFound => "what was asked for does not exist at the system".to_owned(),
            Class::Validation => {
                "the system refuses the values: correct the record or the mapping".to_owned()
            }
            Class::Duplicate { .. } => {
                "what is to be created exists already: link the record to it or correct its identity"
                    .to_owned()
            }
            Class::Conflict => {
                "somebody changed the record meanwhile: it is read again before it is written".to_owned()
            }
            Class::Protocol => {
                "the answer is not what the manifest describes: report this as a defect".to_owned()
            }
            Class::Network => "the system could not be reached: it is tried again".to_owned(),
            Class::Settings => "the connection's settings are wrong or incomplete: correct them".to_owned(),
        }
    }
}

/// Why a whole call failed, and what the system said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The class, which has one action.
    pub class: Class,
    /// What the system or the network said, shortened; never a secret.
    pub detail: String,
    /// The status code of the answer, if there was one.
    pub status: Option<u16>,
    /// Whether the system may have acted all the same: an answer did not come, or told nothing, to any try of the call.
    pub ambiguous: bool,
}

impl Failure {
    /// Whether it may have acted, and nothing was said of the objects: too large may be the answer, too.
    pub(crate) fn is_unheard(&self) -> bool {
        self.ambiguous && (self.class == Class::TooLarge || !self.class.concerns_records())
    }

    /// The failure, where nothing was sent that would be carried out.
    pub(crate) fn in_no_doubt(self) -> Failure {
        Failure {
            ambiguous: false,
            ..self
        }
    }

    pub(crate) fn new(class: Class, detail: impl Into<String>) -> Failure {
        Failure {
            class,
            detail: shortened(detail.into()),
            status: None,
            ambiguous: false,
        }
    }

    pub(crate) fn protocol(detail: impl Into<String>) -> Failure {
        Failure::new(Class::Protocol, detail)
    }

    /// What to do.
    pub fn action(&self) -> Action {
        self.class.action()
    }

    /// One sentence for an administrator: what to do, and what the system said.
    pub fn text(&self) -> String {
        match self.detail.is_empty() {
            true => self.class.advice(),
            false => format!("{} ({})", self.class.advice(), self.detail),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text())
    }
}

impl std::error::Error for Failure {}

/// Why one record was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordClass {
    /// A value is not acceptable to the system.
    Validation,
    /// Another object already has this identity.
    Duplicate,
    /// The record was locked by another transaction, and stayed so for all tries.
    Locked,
    /// The object was deleted or merged away.
    Gone,
    /// The account may not write this record or field, or an automation of the system refused.
    Permission,
    /// The object changed since it was read, or its creation collided with another one.
    Conflict,
    /// The wanted state cannot be reached from the current one.
    Unreachable,
    /// Anything else the system said.
    Other,
}

impl RecordClass {
    /// The word for logs, metrics and the console.
    pub fn name(self) -> &'static str {
        match self {
            RecordClass::Validation => "validation",
            RecordClass::Duplicate => "duplicate",
            RecordClass::Locked => "locked",
            RecordClass::Gone => "gone",
            RecordClass::Permission => "permission",
            RecordClass::Conflict => "conflict",
            RecordClass::Unreachable => "unreachable",
            RecordClass::Other => "other",
        }
    }
}

/// One record that was refused, in words for an administrator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordError {
    /// The kind of refusal.
    pub class: RecordClass,
    /// The system's own code; empty if it has none.
    pub code: String,
    /// What the system said, shortened.
    pub message: String,
    /// The fields it names.
    pub fields: Vec<String>,
    /// The object that exists already, if the system names it, or the object whose other part was written.
    pub existing_id: Option<String>,
    /// Whether something of it may have been carried out all the same: by an earlier try whose answer told nothing, or
    /// because only a part of it was refused.
    pub ambiguous: bool,
}

impl RecordError {
    pub(crate) fn new(
        class: RecordClass,
        code: impl Into<String>,
        message: impl Into<String>,
    ) -> RecordError {
        RecordError {
            class,
            code: code.into(),
            message: shortened(message.into()),
            fields: Vec::new(),
            existing_id: None,
            ambiguous: false,
        }
    }
}

pub(crate) fn shortened(text: String) -> String {
    match text.char_indices().nth(MESSAGE_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}
