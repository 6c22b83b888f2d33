//! The browser's way back from a sign-in.

use outbound::{Client, Guard, Limits, Method, Request, Url};

use crate::Redirect;

async fn get(address: &str) -> (u16, String) {
    let guard = Guard::allowing(["127.0.0.0/8".parse().unwrap()]);
    let client = Client::new(Limits::default(), guard).unwrap();
    let answer = client
        .call(Request::new(Method::GET, Url::parse(address).unwrap()))
        .await
        .unwrap();
    (answer.status, String::from_utf8_lossy(&answer.body).into_owned())
}

#[tokio::test]
async fn the_first_answer_of_the_system_is_taken_and_nothing_else() {
    let redirect = Redirect::listen(0).await.unwrap();
    let uri = redirect.uri().to_owned();
    let waiting = tokio::spawn(redirect.wait());
    assert_eq!(get(&uri).await.0, 400, "a curious visitor");
    assert_eq!(get(&format!("{uri}favicon.ico")).await.0, 404);
    let (status, page) = get(&format!("{uri}?state=s%201&code=c%2F1&scope=crm")).await;
    assert_eq!((status, page.contains("can be closed")), (200, true));
    let brought = waiting.await.unwrap().unwrap();
    assert_eq!(
        (
            brought.state.as_str(),
            brought.code.as_str(),
            brought.error.as_str()
        ),
        ("s 1", "c/1", "")
    );
}

#[tokio::test]
async fn a_refusal_comes_back_too() {
    let redirect = Redirect::listen(0).await.unwrap();
    let uri = redirect.uri().to_owned();
    let waiting = tokio::spawn(redirect.wait());
    get(&format!("{uri}?error=access_denied&state=s")).await;
    assert_eq!(waiting.await.unwrap().unwrap().error, "access_denied");
}
