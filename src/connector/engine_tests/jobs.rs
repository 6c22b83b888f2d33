//! An organisation that knows jobs, as far as the tests of jobs need it: it answers by script, and takes note.

use serde_json::{Value as Json, json};

use crate::testing::{Got, Say, Server};

const DATA: &str = "/services/data/v67.0";

/// What the organisation holds and does.
#[derive(Clone, Default)]
pub(super) struct Org {
    pub(super) rows: u64,
    /// Questions about a job before it is done.
    pub(super) polls: u32,
    /// Pages of results, as CSV.
    pub(super) pages: Vec<String>,
    /// Whether jobs fail.
    pub(super) failed: bool,
    /// Whether jobs are unknown as soon as they are made.
    pub(super) forgotten: bool,
    /// Whether questions about jobs are answered by 503.
    pub(super) unwell: bool,
    /// Why no job is made.
    pub(super) refuses: Option<&'static str>,
    /// When it says that it made a job.
    pub(super) made_at: Option<&'static str>,
    jobs: u32,
    asked: u32,
}

/// Names as the engine takes them.
pub(super) fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// What the server was asked, without the token and the address of the version.
pub(super) fn told(server: &Server) -> Vec<String> {
    let lines = server.lines().into_iter().filter(|line| line.contains(DATA));
    lines.map(|line| line.replace(DATA, "")).collect()
}

impl Org {
    pub(super) fn of_accounts(rows: u64) -> Org {
        Org {
            rows,
            ..Org::default()
        }
    }

    pub(super) async fn serve(mut self) -> Server {
        Server::start(move |got| self.answer(got)).await
    }

    fn answer(&mut self, got: &Got) -> Say {
        let json = |body: Json| Say::Json(200, body.to_string());
        let refuse = |status, code: &str, message: &str| {
            Say::Json(
                status,
                json!([{"errorCode": code, "message": message}]).to_string(),
            )
        };
        let line = got.line.replace(DATA, "");
        if line.contains("/oauth2/token") {
            let url = format!("http://{}", got.headers["host"]);
            return json(json!({"access_token": "t", "instance_url": url}));
        }
        let (method, path) = line.split_once(' ').unwrap();
        match (method, path) {
            ("GET", path) if path.contains("COUNT") => {
                json(json!({"totalSize": self.rows, "done": true, "records": []}))
            }
            ("GET", "/sobjects/Account/describe") => json(json!({"fields": [
                {"name": "Name", "type": "string"}, {"name": "AnnualRevenue", "type": "currency"},
                {"name": "IsDeleted", "type": "boolean"}, {"name": "SystemModstamp", "type": "datetime"},
            ]})),
            ("GET", path) if path.starts_with("/queryAll") => json(json!({"done": true, "records": []})),
            ("POST", "/jobs/query") => match self.refuses {
                Some(message) => refuse(400, "API_ERROR", message),
                None => {
                    self.jobs += 1;
                    let made = json!({"id": format!("750x{}", self.jobs), "state": "UploadComplete"});
                    match self.made_at {
                        Some(date) => Say::Header(200, "date", date, made.to_string()),
                        None => json(made),
                    }
                }
            },
            ("DELETE", _) => Say::Json(204, String::new()),
            _ if self.unwell => refuse(503, "SERVER_UNAVAILABLE", "later"),
            _ if self.forgotten => refuse(404, "NOT_FOUND", "The requested resource does not exist"),
            ("GET", path) if path.contains("/results") => self.results(path),
            _ => {
                self.asked += 1;
                let state = match (self.asked > self.polls, self.failed) {
                    (false, _) => "InProgress",
                    (true, false) => "JobComplete",
                    (true, true) => "Failed",
                };
                json(json!({"id": "750x1", "state": state}))
            }
        }
    }

    fn results(&self, path: &str) -> Say {
        let at: usize = path
            .split_once("locator=")
            .map_or(0, |(_, at)| at.parse().unwrap());
        let next = ["1", "2", "null"][at];
        Say::Header(200, "sforce-locator", next, self.pages[at].clone())
    }
}
