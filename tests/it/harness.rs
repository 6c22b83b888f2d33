//! What stories start: the hub, the sandbox, a Tryton, the vendors' client libraries.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};

/// How long a condition may take to come true on a busy machine.
const DEADLINE: Duration = Duration::from_secs(90);
/// How often a condition is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// The binary under test.
pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_interconnect");

/// A child process that does not outlive its story.
pub(crate) struct Running {
    child: Child,
    /// Kept open: a child that watches it ends with the story, however that ends.
    _stdin: Option<ChildStdin>,
}

impl Running {
    /// Ends it at once, as a power cut would.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("the child was ours to kill");
        self.child.wait().expect("a killed child can be waited for");
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal by its name: `STOP`, `CONT`.
    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("kill")
            .args([&format!("-{name}"), &self.pid().to_string()])
            .status();
        assert!(sent.expect("kill runs").success(), "{name} was not sent");
    }

    /// Asks it to stop, and waits until it has; its exit code.
    pub(crate) fn stop(mut self) -> Option<i32> {
        self.signal("TERM");
        self.child
            .wait()
            .expect("a stopping child can be waited for")
            .code()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.child.try_wait().ok().flatten().is_none() {
            let _ended = self.child.kill();
            let _reaped = self.child.wait();
        }
    }
}

/// A folder of its own for each story.
pub(crate) struct Folder(tempfile::TempDir);

impl Folder {
    pub(crate) fn new() -> Folder {
        Folder(tempfile::tempdir().expect("a folder for the story"))
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Runs the binary in it, to its end.
    pub(crate) fn run(&self, arguments: &[&str], env: &[(&str, String)]) -> Output {
        run(Command::new(BINARY).current_dir(self.0.path()), arguments, env)
    }

    /// Writes a file, with the folders that it lies in.
    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        let folder = path.parent().expect("a file lies in a folder");
        std::fs::create_dir_all(folder).expect("the story's folder can be written");
        std::fs::write(&path, text).expect("the story's folder can be written");
        path
    }
}

pub(crate) fn required(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: run the stories with `make test`"))
}

/// Reads lines until one is wanted; the rest is drained in the background, so that the child never blocks.
fn first<T>(reader: impl Read + Send + 'static, what: &str, mut wanted: impl FnMut(&str) -> Option<T>) -> T {
    let mut lines = BufReader::new(reader).lines();
    let mut seen = String::new();
    let found = loop {
        let Some(Ok(line)) = lines.next() else {
            panic!("{what} ended before it was ready:\n{seen}")
        };
        if let Some(found) = wanted(&line) {
            break found;
        }
        seen.push_str(&line);
        seen.push('\n');
    };
    // Nothing is done with the rest, but a full pipe would stop the child.
    std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
    found
}

/// The hub, serving.
pub(crate) struct Hub {
    pub(crate) url: String,
    pub(crate) running: Running,
}

impl Hub {
    /// Starts it on a configuration, in its folder; `env` holds its secrets.
    pub(crate) fn start(config: &Path, env: &[(&str, String)]) -> Hub {
        Hub::begin(&[], config, env).listening()
    }

    /// Begins to start it, by a command in front of its own, if there is one.
    pub(crate) fn begin(through: &[&str], config: &Path, env: &[(&str, String)]) -> Starting {
        let folder = config.parent().expect("a file lies in a folder");
        let mut words = through.iter().copied().chain([BINARY]);
        let child = Command::new(words.next().expect("at least the binary"))
            .args(words)
            .current_dir(folder)
            .arg("--config")
            .arg(config)
            .arg("serve")
            .envs(env.iter().map(|(name, value)| (*name, value.as_str())))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        Starting(Running { child, _stdin: None })
    }
}

/// The hub before it serves.
pub(crate) struct Starting(pub(crate) Running);

impl Starting {
    /// Waits until it serves.
    pub(crate) fn listening(self) -> Hub {
        self.listening_after(|_| ())
    }

    /// Waits until it serves; `heard` gets every line that it says before.
    pub(crate) fn listening_after(self, mut heard: impl FnMut(&str)) -> Hub {
        let Starting(mut running) = self;
        let stderr = running.child.stderr.take().expect("it is piped");
        let url = first(stderr, "the hub", |line| {
            heard(line);
            line.strip_prefix("listening on ")
                .map(|url| url.trim().to_owned())
        });
        Hub { url, running }
    }
}

/// Runs the binary to its end.
pub(crate) fn interconnect(arguments: &[&str], env: &[(&str, String)]) -> Output {
    run(&mut Command::new(BINARY), arguments, env)
}

fn run(binary: &mut Command, arguments: &[&str], env: &[(&str, String)]) -> Output {
    binary
        .args(arguments)
        .envs(env.iter().map(|(name, value)| (*name, value.as_str())))
        .stdin(Stdio::null())
        .output()
        .expect("the binary runs")
}

/// How a command ended, and what it printed: (exit code, standard output, standard error).
pub(crate) fn said(output: &Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

/// What a command printed, as JSON.
pub(crate) fn json_of(output: &Output) -> Json {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
        panic!(
            "not JSON ({error}): {}\n{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        )
    })
}

/// Emulated systems and partners, in a process of their own.
pub(crate) struct Sandbox {
    /// What it said of itself: addresses and credentials.
    pub(crate) said: Json,
    _running: Running,
}

impl Sandbox {
    pub(crate) fn start(arguments: &[&str]) -> Sandbox {
        let mut child = Command::new(BINARY)
            .args(["sandbox", "--json"])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the binary starts");
        let stdin = child.stdin.take();
        let stdout = child.stdout.take().expect("it is piped");
        let running = Running { child, _stdin: stdin };
        let said = first(stdout, "the sandbox", |line| serde_json::from_str(line).ok());
        Sandbox {
            said,
            _running: running,
        }
    }

    /// The address of `salesforce`, `hubspot` or a partner.
    pub(crate) fn url(&self, name: &str) -> String {
        let url = self.said[name]["url"]
            .as_str()
            .or(self.said["partners"][name]["url"].as_str());
        url.unwrap_or_else(|| panic!("no `{name}` in {}", self.said))
            .to_owned()
    }

    /// Rows of an object as the system holds them.
    pub(crate) fn rows(&self, system: &str, object: &str) -> Vec<Json> {
        let rows = get(&format!("{}/_sandbox/rows/{object}", self.url(system)));
        let rows = rows
            .as_array()
            .cloned()
            .or_else(|| rows["rows"].as_array().cloned());
        rows.expect("the sandbox lists rows")
    }

    /// How many calls were made since the last reset: (read, written).
    pub(crate) fn calls(&self, system: &str) -> (u64, u64) {
        let calls = get(&format!("{}/_sandbox/calls", self.url(system)));
        let count = |name: &str| {
            calls[name]
                .as_u64()
                .unwrap_or_else(|| panic!("no `{name}` in {calls}"))
        };
        (count("reads"), count("writes"))
    }

    pub(crate) fn reset_calls(&self, system: &str) {
        post(&format!("{}/_sandbox/calls/reset", self.url(system)), &json!({}));
    }

    pub(crate) fn fault(&self, system: &str, fault: &Json) {
        post(&format!("{}/_sandbox/faults", self.url(system)), fault);
    }
}

/// A real Tryton on a copy of the template.
pub(crate) struct Tryton {
    url: String,
    said: Json,
    session: String,
    _running: Running,
}

impl Tryton {
    pub(crate) fn start(folder: &Folder) -> Tryton {
        let template = required("IT_TRYTON_TEMPLATE");
        let data = folder.path("tryton");
        let data = data.to_str().expect("a path of text");
        let (running, said) = service("tryton.py", &["serve", "--template", &template, "--data", data]);
        let url = format!(
            "{}/{}/rpc/",
            said["url"].as_str().expect("an address"),
            said["database"].as_str().expect("a name")
        );
        let login = post(
            &url,
            &json!({"id": 1, "method": "common.db.login",
                "params": [said["user"], {"password": said["password"]}, "en"]}),
        );
        let (user, token) = (
            &login["result"][0],
            login["result"][1].as_str().expect("a session"),
        );
        let pair = format!("{}:{user}:{token}", said["user"].as_str().expect("a name"));
        let session = format!("Session {}", base64(pair.as_bytes()));
        Tryton {
            url,
            said,
            session,
            _running: running,
        }
    }

    /// A part of what it said of itself: url, database, user, password.
    pub(crate) fn said(&self, name: &str) -> String {
        self.said[name]
            .as_str()
            .unwrap_or_else(|| panic!("no `{name}`"))
            .to_owned()
    }

    /// Calls a method with its positional parameters; the context is added.
    pub(crate) fn call(&self, method: &str, parameters: &Json) -> Json {
        let answer = self.try_call(method, parameters);
        answer.unwrap_or_else(|error| panic!("{method}: {error}"))
    }

    /// Calls a method that may be refused; gives what it said then.
    pub(crate) fn try_call(&self, method: &str, parameters: &Json) -> Result<Json, Json> {
        let mut parameters = parameters.as_array().cloned().expect("parameters are a list");
        parameters.push(self.said["context"].clone());
        let body = json!({"id": 1, "method": method, "params": parameters});
        let answer = send(
            "POST",
            &self.url,
            Some(&body),
            &[("authorization", &self.session)],
        );
        match answer.get("error") {
            None => Ok(answer["result"].clone()),
            Some(error) => Err(error.clone()),
        }
    }
}

/// Starts a script of tests/services, or of tests/clients, that says what it is in one line of JSON and ends with its
/// standard input.
pub(crate) fn service(script: &str, arguments: &[&str]) -> (Running, Json) {
    let (program, folder) = match script.ends_with(".mjs") {
        true => ("node", required("IT_NODE_CLIENTS")),
        false => (
            "python3",
            concat!(env!("CARGO_MANIFEST_DIR"), "/tests/services").to_owned(),
        ),
    };
    let mut child = Command::new(program)
        .arg(Path::new(&folder).join(script))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .expect("the program starts");
    let stdin = child.stdin.take();
    let stdout = child.stdout.take().expect("it is piped");
    let running = Running { child, _stdin: stdin };
    let said = first(stdout, script, |line| serde_json::from_str(line).ok());
    (running, said)
}

/// A Redis of the story's own, on a socket in its folder.
pub(crate) struct Redis {
    pub(crate) url: String,
    pub(crate) running: Running,
}

impl Redis {
    pub(crate) fn start(folder: &Folder) -> Redis {
        let socket = folder.path("redis.sock");
        let child = Command::new(required("IT_REDIS_SERVER"))
            .args(["--port", "0", "--save", "", "--unixsocket"])
            .arg(&socket)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server starts");
        let running = Running { child, _stdin: None };
        eventually("a socket of Redis", || {
            std::os::unix::net::UnixStream::connect(&socket)
                .map(drop)
                .map_err(|error| error.to_string())
        });
        Redis {
            url: format!("unix://{}", socket.display()),
            running,
        }
    }
}

/// The address of a new database of the story's own, in the PostgreSQL that is there.
pub(crate) fn database(story: &str) -> String {
    let server = required("IT_POSTGRES_URL");
    let name = format!("{story}_{}", std::process::id());
    let create = async {
        let (client, connection) = tokio_postgres::connect(&server, tokio_postgres::NoTls).await?;
        tokio::spawn(connection);
        client.batch_execute(&format!("CREATE DATABASE {name}")).await
    };
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(create).expect("PostgreSQL makes a database");
    let (place, _) = server.rsplit_once('/').expect("an address ends with a database");
    format!("{place}/{name}")
}

/// Runs a verb of a vendor's client library and reads what it printed.
pub(crate) fn client(script: &str, arguments: &[&str]) -> Json {
    let folder = required("IT_NODE_CLIENTS");
    let output = Command::new("node")
        .arg(Path::new(&folder).join(script))
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .expect("node runs");
    let (stdout, stderr) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(
        output.status.success(),
        "{script} {arguments:?}:\n{stdout}\n{stderr}"
    );
    serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("{script} {arguments:?}: {error}: {stdout}"))
}

/// A number that is asked for by the environment.
pub(crate) fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(otherwise)
}

/// Chance from a seed.
pub(crate) struct Chance(pub(crate) u64);

impl Chance {
    pub(crate) fn below(&mut self, most: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).expect("31 bits") % most
    }
}

/// Waits until something holds; says what it last looked like if it never does.
pub(crate) fn eventually<T>(what: &str, mut look: impl FnMut() -> Result<T, String>) -> T {
    let started = Instant::now();
    loop {
        match look() {
            Ok(found) => return found,
            Err(last) if started.elapsed() > DEADLINE => panic!("{what} never came true; at last: {last}"),
            Err(_) => std::thread::sleep(LOOK_EVERY),
        }
    }
}

/// Holds, or says what it is instead.
pub(crate) fn expect(holds: bool, instead: impl std::fmt::Display) -> Result<(), String> {
    if holds { Ok(()) } else { Err(instead.to_string()) }
}

pub(crate) fn get(url: &str) -> Json {
    send("GET", url, None, &[])
}

pub(crate) fn post(url: &str, body: &Json) -> Json {
    send("POST", url, Some(body), &[])
}

pub(crate) fn send(method: &str, url: &str, body: Option<&Json>, headers: &[(&str, &str)]) -> Json {
    let (status, body) = exchange(method, url, body.map(ToString::to_string).as_deref(), headers);
    assert!((200..300).contains(&status), "{method} {url}: {status} {body}");
    serde_json::from_str(&body).unwrap_or(Json::Null)
}

/// One HTTP exchange: status and body, whatever they are.
pub(crate) fn exchange(
    method: &str,
    url: &str,
    body: Option<&str>,
    headers: &[(&str, &str)],
) -> (u16, String) {
    try_exchange(method, url, body, headers).unwrap_or_else(|error| panic!("{method} {url}: {error}"))
}

/// One HTTP exchange, or why there was none.
pub(crate) fn try_exchange(
    method: &str,
    url: &str,
    body: Option<&str>,
    headers: &[(&str, &str)],
) -> Result<(u16, String), String> {
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(Duration::from_secs(60)))
        .build()
        .into();
    let mut request = ureq::http::Request::builder().method(method).uri(url);
    if body.is_some()
        && !headers
            .iter()
            .any(|(name, _)| name.eq_ignore_ascii_case("content-type"))
    {
        request = request.header("content-type", "application/json");
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let body = body.unwrap_or_default().to_owned();
    let request = request.body(body).map_err(|error| error.to_string())?;
    let mut answer = agent.run(request).map_err(|error| error.to_string())?;
    let text = answer
        .body_mut()
        .read_to_string()
        .map_err(|error| error.to_string())?;
    Ok((answer.status().as_u16(), text))
}

pub(crate) fn base64(bytes: &[u8]) -> String {
    use ::base64::Engine as _;
    ::base64::engine::general_purpose::STANDARD.encode(bytes)
}
