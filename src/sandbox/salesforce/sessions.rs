//! Tokens: which are valid, until when, and whose they are.
//!
//! The names and secrets of the sandbox are constants, for they protect nothing: anybody may know them.

use std::collections::{HashMap, VecDeque};

use super::seed::Users;
use crate::random::Random;

/// The consumer key of the emulated external client app.
pub const CLIENT_ID: &str = "3MVG9sandbox.interconnect";
/// Its consumer secret.
pub const CLIENT_SECRET: &str = "sandbox-consumer-secret";
/// A refresh token of the integration's user.
pub const INTEGRATION_REFRESH_TOKEN: &str = "5Aep861sandbox.integration";
/// A refresh token of the sales representative.
pub const REP_REFRESH_TOKEN: &str = "5Aep861sandbox.representative";
/// The user name of the sales representative.
pub const REP_USERNAME: &str = "rep@sandbox.example";
/// The password of the sales representative.
pub const REP_PASSWORD: &str = "sandbox-password";

/// Access tokens that are remembered; the oldest is forgotten first.
const TOKENS_MAX: usize = 1_000;
/// Authorisation codes that are remembered.
const CODES_MAX: usize = 100;
/// How long a code may be used, in milliseconds.
const CODE_LIFE_MS: i64 = 15 * 60 * 1_000;

/// What an authorisation code stands for. It can be used once.
#[derive(Debug, Clone)]
pub(crate) struct Code {
    pub(crate) redirect_uri: String,
    pub(crate) challenge: Option<String>,
    pub(crate) until_ms: i64,
}

/// All tokens.
#[derive(Debug)]
pub(crate) struct Sessions {
    random: Random,
    life_ms: i64,
    tokens: HashMap<String, (String, i64)>,
    order: VecDeque<String>,
    /// The refresh token of each user.
    refresh_tokens: HashMap<String, String>,
    /// Whether a refresh token can be used once and comes with its successor.
    rotates: bool,
    codes: VecDeque<(String, Code)>,
}

impl Sessions {
    pub(crate) fn new(random: Random, life_ms: i64, users: &Users, rotates: bool) -> Self {
        let refresh_tokens = [
            (&users.integration, INTEGRATION_REFRESH_TOKEN),
            (&users.representative, REP_REFRESH_TOKEN),
        ];
        let refresh_tokens = refresh_tokens.map(|(user, token)| (user.clone(), token.to_owned()));
        Self {
            random,
            life_ms,
            tokens: HashMap::new(),
            order: VecDeque::new(),
            refresh_tokens: refresh_tokens.into(),
            rotates,
            codes: VecDeque::new(),
        }
    }

    /// A new access token for a user; it begins with the organisation's 15-character id, as real ones do.
    pub(crate) fn open(&mut self, org: &str, user: &str, now_ms: i64) -> String {
        let token = format!("{}!AQ{}", &org[..15], self.random.token(86));
        self.tokens
            .insert(token.clone(), (user.to_owned(), now_ms + self.life_ms));
        self.order.push_back(token.clone());
        if self.order.len() > TOKENS_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.tokens.remove(&oldest);
        }
        token
    }

    /// Whose token this is, if it is valid.
    pub(crate) fn user(&self, token: &str, now_ms: i64) -> Option<String> {
        let (user, until_ms) = self.tokens.get(token)?;
        (now_ms < *until_ms).then(|| user.clone())
    }

    /// Ends a token. Whether there was one.
    pub(crate) fn end(&mut self, token: &str) -> bool {
        self.order.retain(|known| known != token);
        self.tokens.remove(token).is_some()
    }

    /// The refresh token of a user who said yes. When tokens are rotated it is a new one, and ends the one before.
    pub(crate) fn refresh_token(&mut self, user: &str) -> String {
        let token = self.refresh_tokens.entry(user.to_owned()).or_default();
        if self.rotates {
            *token = format!("5Aep861{}", self.random.token(80));
        }
        token.clone()
    }

    /// Uses a refresh token: whose it is, and its successor when tokens are rotated.
    pub(crate) fn refresh(&mut self, token: &str) -> Option<(String, Option<String>)> {
        let (user, _) = self.refresh_tokens.iter().find(|(_, good)| *good == token)?;
        let user = user.clone();
        let next = self.rotates.then(|| self.refresh_token(&user));
        Some((user, next))
    }

    /// A new authorisation code.
    pub(crate) fn grant_code(
        &mut self,
        redirect_uri: String,
        challenge: Option<String>,
        now_ms: i64,
    ) -> String {
        let code = format!("aPrx{}", self.random.token(40));
        if self.codes.len() >= CODES_MAX {
            self.codes.pop_front();
        }
        self.codes.push_back((
            code.clone(),
            Code {
                redirect_uri,
                challenge,
                until_ms: now_ms + CODE_LIFE_MS,
            },
        ));
        code
    }

    /// Uses a code up.
    pub(crate) fn redeem_code(&mut self, code: &str, now_ms: i64) -> Option<Code> {
        let at = self.codes.iter().position(|(known, _)| known == code)?;
        self.codes
            .remove(at)
            .map(|(_, code)| code)
            .filter(|code| now_ms < code.until_ms)
    }
}
