//! The account itself and its owners.

use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Value, json};

use super::problem::Problem;
use super::show::Parameters;
use super::standard::CURRENCIES;
use super::visit::Visit;
use super::{PORTAL_ID, System, answer};

/// Owners one page may have, and has when nobody says how many.
const PAGE: std::ops::RangeInclusive<usize> = 1..=500;
const PAGE_USUAL: usize = 100;

/// The user id of the person at the screen.
pub(crate) const SCREEN_USER: u64 = 9_586_504;
/// The id of the first owner; every other one is one more.
const FIRST_OWNER: u64 = 41_629_779;

/// A person who may own rows.
#[derive(Debug, Clone)]
pub(crate) struct Owner {
    first_name: String,
    last_name: String,
    email: String,
    archived: bool,
}

impl Owner {
    fn new(first_name: &str, last_name: &str, email: &str) -> Self {
        Self {
            first_name: first_name.to_owned(),
            last_name: last_name.to_owned(),
            email: email.to_owned(),
            archived: false,
        }
    }

    /// The owners of a new account.
    pub(crate) fn first() -> Vec<Self> {
        vec![
            Self::new("Ada", "Admin", "admin@sandbox.example"),
            Self::new("Rita", "Representative", "rep@sandbox.example"),
        ]
    }

    /// Somebody whom an administrator adds, of whom the e-mail must be told.
    pub(crate) fn of(form: &Value) -> Option<Self> {
        let text = |name: &str| form[name].as_str().unwrap_or_default();
        form["email"]
            .as_str()
            .map(|email| Self::new(text("firstName"), text("lastName"), email))
    }
}

/// The id of the owner at a place.
pub(crate) fn owner_id(at: usize) -> String {
    (FIRST_OWNER + at as u64).to_string()
}

/// Somebody leaves; false when nobody has this id.
pub(crate) fn leave(owners: &mut [Owner], id: &str) -> bool {
    let found = owners.iter_mut().enumerate().find(|(at, _)| owner_id(*at) == id);
    found.map(|(_, owner)| owner.archived = true).is_some()
}

/// `GET /account-info/v3/details`
pub(crate) async fn details(_visit: Visit) -> Response {
    let body = json!({
        "portalId": PORTAL_ID, "accountType": "STANDARD", "timeZone": "Europe/Berlin", "companyCurrency": CURRENCIES[0],
        "additionalCurrencies": CURRENCIES[1..], "utcOffset": "+01:00", "utcOffsetMilliseconds": 3_600_000,
        "uiDomain": "app.hubspot.com", "dataHostingLocation": "na1",
    });
    answer(StatusCode::OK, &body)
}

/// The owners as the API shows them, in order of id.
pub(crate) fn all_owners(owners: &[Owner]) -> Vec<Value> {
    let owner = |(at, owner): (usize, &Owner)| {
        let user = SCREEN_USER + at as u64;
        json!({
            "id": owner_id(at), "email": owner.email, "type": "PERSON", "firstName": owner.first_name,
            "lastName": owner.last_name, "userId": (!owner.archived).then_some(user), "userIdIncludingInactive": user,
            "createdAt": "2024-01-15T09:00:00.000Z", "updatedAt": "2024-01-15T09:00:00.000Z", "archived": owner.archived,
        })
    };
    owners.iter().enumerate().map(owner).collect()
}

/// `GET /crm/v3/owners`: those who are there, or those who left, by pages in order of id.
pub(crate) async fn owners(
    State(system): State<Arc<System>>,
    _visit: Visit,
    Query(parameters): Query<Vec<(String, String)>>,
) -> Result<Response, Problem> {
    let parameters = Parameters(parameters);
    let (email, archived) = (parameters.one("email"), parameters.flag("archived"));
    let limit = match parameters.one("limit") {
        None => PAGE_USUAL,
        Some(text) => text
            .parse()
            .ok()
            .filter(|limit| PAGE.contains(limit))
            .ok_or_else(|| Problem::invalid(format!("limit must be from 1 to 500, but was {text}")))?,
    };
    let after = parameters.one("after").unwrap_or_default();
    let all = all_owners(&system.portal().owners);
    let mut chosen = all.into_iter().filter(|owner| {
        owner["archived"] == archived
            && email.is_none_or(|email| owner["email"] == email)
            && owner["id"].as_str() > Some(after)
    });
    let page: Vec<Value> = chosen.by_ref().take(limit).collect();
    let next = chosen.next().and(page.last());
    let mut body = json!({ "results": page });
    if let Some(last) = next {
        body["paging"] = json!({ "next": { "after": last["id"] } });
    }
    Ok(answer(StatusCode::OK, &body))
}

/// `GET /crm/v3/owners/{id}`
pub(crate) async fn owner(
    State(system): State<Arc<System>>,
    _visit: Visit,
    Path(id): Path<String>,
    Query(parameters): Query<Vec<(String, String)>>,
) -> Result<Response, Problem> {
    let by_user = Parameters(parameters).one("idProperty") == Some("userId");
    let is = |owner: &Value| {
        if by_user {
            owner["userId"].as_u64() == id.parse().ok()
        } else {
            owner["id"] == id.as_str()
        }
    };
    let all = all_owners(&system.portal().owners);
    let found = all.into_iter().find(is).ok_or_else(Problem::not_found)?;
    Ok(answer(StatusCode::OK, &found))
}

/// `GET /crm-object-schemas/v3/schemas`: there are no custom objects.
pub(crate) async fn schemas(_visit: Visit) -> Response {
    answer(StatusCode::OK, &json!({ "results": [] }))
}
