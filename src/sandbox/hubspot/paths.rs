//! One spelling for every path: dated versions and aliases become v3 and v4, and a trailing slash is dropped.

use crate::listen::without_trailing_slash;

/// The v3 or v4 spelling of a path, when it is spelt otherwise.
pub(crate) fn respell(path: &str) -> Option<String> {
    let shorter = without_trailing_slash(path);
    let path = shorter.as_deref().unwrap_or(path);
    undated(path).or(shorter)
}

fn undated(path: &str) -> Option<String> {
    let mut parts = path.trim_start_matches('/').splitn(4, '/');
    let (first, second, third) = (parts.next()?, parts.next()?, parts.next().unwrap_or_default());
    let rest = parts.next().unwrap_or_default();
    let spelt = match (first, second) {
        ("crm", "objects") if is_date(third) => {
            let associates = rest.split('/').nth(2) == Some("associations");
            format!("/crm/{}/objects/{rest}", if associates { "v4" } else { "v3" })
        }
        ("crm", "associations") if is_date(third) || third == "v4" => format!("/crm/v4/associations/{rest}"),
        ("crm", area @ ("properties" | "pipelines" | "owners")) if is_date(third) => {
            format!("/crm/v3/{area}/{rest}")
        }
        ("crm", "v3") if third == "schemas" => format!("/crm-object-schemas/v3/schemas/{rest}"),
        (area @ ("oauth" | "account-info" | "crm-object-schemas"), date) if is_date(date) => {
            format!("/{area}/v3/{third}/{rest}")
        }
        _ => return None,
    };
    Some(spelt.trim_end_matches('/').to_owned())
}

/// `2026-03`, `2027-03-beta`
fn is_date(part: &str) -> bool {
    let part = part.strip_suffix("-beta").unwrap_or(part);
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    matches!(part.split_once('-'), Some((year, month)) if year.len() == 4 && month.len() == 2 && digits(year) && digits(month))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dated_paths_lead_where_v3_and_v4_lead() {
        for (path, spelt) in [
            ("/crm/objects/2026-09/contacts", "/crm/v3/objects/contacts"),
            (
                "/crm/objects/2026-03/0-1/batch/upsert",
                "/crm/v3/objects/0-1/batch/upsert",
            ),
            (
                "/crm/objects/2026-09/deals/7/associations/companies",
                "/crm/v4/objects/deals/7/associations/companies",
            ),
            (
                "/crm/associations/2026-09/deals/companies/batch/read",
                "/crm/v4/associations/deals/companies/batch/read",
            ),
            (
                "/crm/associations/v4/deals/companies/labels",
                "/crm/v4/associations/deals/companies/labels",
            ),
            ("/crm/owners/2026-03", "/crm/v3/owners"),
            ("/crm/v3/owners/", "/crm/v3/owners"),
            ("/oauth/2026-09/token", "/oauth/v3/token"),
            ("/oauth/2026-09/token/introspect", "/oauth/v3/token/introspect"),
            ("/account-info/2027-03-beta/details", "/account-info/v3/details"),
            ("/crm/v3/schemas", "/crm-object-schemas/v3/schemas"),
        ] {
            assert_eq!(respell(path).as_deref(), Some(spelt), "{path}");
        }
        for path in [
            "/crm/v3/objects/contacts",
            "/crm/v4/associations/a/b/labels",
            "/oauth/v1/token",
            "/",
            "/crm",
        ] {
            assert_eq!(respell(path), None, "{path}");
        }
    }
}
