//! Signing in with a browser: the authorization code of OAuth 2 (RFC 6749 section 4.1) with PKCE (RFC 7636).
//!
//! A [`SignIn`] is begun here, goes on in a person's browser at the system, and ends here with the code that the browser
//! brings back. What stays of it is a refresh token in the [`crate::TokenStore`].

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use outbound::Url;
use ring::digest::{SHA256, digest};
use subtle::ConstantTimeEq;

use crate::connection::Connection;
use crate::failure::{Class, Failure};
use crate::manifest::AuthKind;
use crate::secret::Secret;

/// A sign-in that has begun.
#[derive(Debug)]
pub struct SignIn {
    /// Where the person's browser is to go.
    pub url: Url,
    /// Where the system sends the browser back to.
    pub redirect_uri: String,
    /// Comes back with the browser, so that nobody else's code is taken.
    state: Secret,
    /// Shows that who brings the code has begun the sign-in.
    verifier: Secret,
}

impl Connection {
    /// Begins to sign in; the system sends the browser back to `redirect_uri`, which must be registered there.
    pub fn begin_sign_in(&self, redirect_uri: &str) -> Result<SignIn, Failure> {
        let caller = &self.caller;
        let AuthKind::Code { oauth, authorize_url } = &caller.signs_in()?.kind else {
            let text = format!(
                "`{}` signs in by `{}`, which needs no browser; a way of the kind `oauth2_code` does",
                self.name(),
                caller.auth().name
            );
            return Err(Failure::new(Class::Settings, text));
        };
        let address = caller.render(authorize_url, &caller.config_names())?;
        let mut url = crate::call::parsed(&address)?;
        let state = Secret::new(caller.clock.nonce());
        let verifier = Secret::new(format!("{}{}", caller.clock.nonce(), caller.clock.nonce()));
        let challenge = URL_SAFE_NO_PAD.encode(digest(&SHA256, verifier.expose().as_bytes()));
        let mut query = url.query_pairs_mut();
        query
            .append_pair("response_type", "code")
            .append_pair("client_id", caller.secret("client_id")?.expose())
            .append_pair("redirect_uri", redirect_uri)
            .append_pair("state", state.expose())
            .append_pair("code_challenge", &challenge)
            .append_pair("code_challenge_method", "S256");
        if let Some(scope) = caller.scope(oauth)? {
            query.append_pair("scope", &scope);
        }
        drop(query);
        Ok(SignIn {
            url,
            redirect_uri: redirect_uri.to_owned(),
            state,
            verifier,
        })
    }

    /// Ends a sign-in with the state and the code that the browser brought back: the refresh token is kept, and the
    /// connection works from now on.
    pub async fn end_sign_in(&self, sign_in: &SignIn, state: &str, code: &str) -> Result<(), Failure> {
        let caller = &self.caller;
        let AuthKind::Code { oauth, .. } = &caller.auth().kind else {
            return Err(Failure::protocol(
                "the sign-in belongs to another way to authorise",
            ));
        };
        if !bool::from(state.as_bytes().ct_eq(sign_in.state.expose().as_bytes())) {
            let text = "the browser came back from a sign-in that was not begun here: begin it again";
            return Err(Failure::new(Class::Permission, text));
        }
        let form = vec![
            ("grant_type", "authorization_code".to_owned()),
            ("code", code.to_owned()),
            ("redirect_uri", sign_in.redirect_uri.clone()),
            ("code_verifier", sign_in.verifier.expose().to_owned()),
        ];
        let origin = caller.secret("client_id")?;
        // Nobody may renew the session with the old token while the new one is on its way.
        let mut held = caller.held.lock().await;
        let refreshes = caller
            .token(oauth, form, Some(&origin), caller.clock.now())
            .await?
            .refreshes;
        held.forget();
        if refreshes {
            return Ok(());
        }
        let text = "the system gave no refresh token: ask for the scope that gives one (`offline_access`, `refresh_token`)";
        Err(Failure::new(Class::Settings, text))
    }
}
