//! The account itself and its owners.

use axum::extract::{Path, Query};
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Value, json};

use super::problem::Problem;
use super::show::Parameters;
use super::standard::CURRENCIES;
use super::visit::Visit;
use super::{PORTAL_ID, answer};

/// The account's owners: owner id, user id, first name, last name, e-mail.
const OWNERS: [(&str, u64, &str, &str, &str); 2] = [
    ("41629779", 9_586_504, "Ada", "Admin", "admin@sandbox.example"),
    (
        "41629780",
        9_586_505,
        "Rita",
        "Representative",
        "rep@sandbox.example",
    ),
];

/// The user id of the person at the screen.
pub(crate) const SCREEN_USER: u64 = OWNERS[0].1;

/// `GET /account-info/v3/details`
pub(crate) async fn details(_visit: Visit) -> Response {
    let body = json!({
        "portalId": PORTAL_ID, "accountType": "STANDARD", "timeZone": "Europe/Berlin", "companyCurrency": CURRENCIES[0],
        "additionalCurrencies": CURRENCIES[1..], "utcOffset": "+01:00", "utcOffsetMilliseconds": 3_600_000,
        "uiDomain": "app.hubspot.com", "dataHostingLocation": "na1",
    });
    answer(StatusCode::OK, &body)
}

fn all_owners() -> Vec<Value> {
    let owner = |(id, user, first, last, email): &(&str, u64, &str, &str, &str)| {
        json!({
            "id": id, "email": email, "type": "PERSON", "firstName": first, "lastName": last, "userId": user,
            "userIdIncludingInactive": user, "createdAt": "2024-01-15T09:00:00.000Z",
            "updatedAt": "2024-01-15T09:00:00.000Z", "archived": false,
        })
    };
    OWNERS.iter().map(owner).collect()
}

/// `GET /crm/v3/owners`
pub(crate) async fn owners(_visit: Visit, Query(parameters): Query<Vec<(String, String)>>) -> Response {
    let parameters = Parameters(parameters);
    let (email, archived) = (parameters.one("email"), parameters.flag("archived"));
    let chosen = all_owners()
        .into_iter()
        .filter(|owner| !archived && email.is_none_or(|email| owner["email"] == email));
    answer(StatusCode::OK, &json!({ "results": chosen.collect::<Vec<_>>() }))
}

/// `GET /crm/v3/owners/{id}`
pub(crate) async fn owner(
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
    let found = all_owners().into_iter().find(is).ok_or_else(Problem::not_found)?;
    Ok(answer(StatusCode::OK, &found))
}

/// `GET /crm-object-schemas/v3/schemas`: there are no custom objects.
pub(crate) async fn schemas(_visit: Visit) -> Response {
    answer(StatusCode::OK, &json!({ "results": [] }))
}
