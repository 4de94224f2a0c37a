//! What proves who the caller is, and where fresh proof comes from.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::HeaderValue;
use tokio::sync::Mutex;
use tokio::time::Instant;

/// Any error, as credentials report it.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// The future of a token.
pub type Fetching<'a> = Pin<Box<dyn Future<Output = Result<Token, BoxError>> + Send + 'a>>;

/// A token is asked for again when this much of its life is left, so that a call does not carry it past its end.
const FRESH_FOR_MIN: Duration = Duration::from_secs(5);

/// A bearer token. `Debug` does not show it.
#[derive(Clone)]
pub struct Token {
    text: Arc<str>,
    expires_in: Option<Duration>,
}

impl Token {
    /// A token that says itself, to the server, how long it lasts.
    pub fn new(text: impl Into<Arc<str>>) -> Self {
        Self { text: text.into(), expires_in: None }
    }

    /// Says how long the token lasts from now. Without it, the time that the server tells is used.
    #[must_use]
    pub fn expires_in(mut self, lasts: Duration) -> Self {
        self.expires_in = Some(lasts);
        self
    }

    /// The value of `authorization`, marked sensitive so that neither HPACK nor `Debug` keeps it.
    fn bearer(&self) -> Result<HeaderValue, BoxError> {
        let mut value = HeaderValue::from_str(&format!("Bearer {}", self.text))
            .map_err(|_| "the token has characters that a header cannot carry")?;
        value.set_sensitive(true);
        Ok(value)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token").field("expires_in", &self.expires_in).finish_non_exhaustive()
    }
}

/// Gives bearer tokens.
///
/// A session asks when it opens, when four fifths of the authority of the last token have passed, and when a server
/// says that the authority has expired. It asks from one place at a time. Calls without a session share what was
/// given until shortly before its end.
///
/// Implementers answer with a token that is valid now; to give the same one again is allowed while it is. An error is
/// reported as an [event](crate::Event) and asked for again after a pause; it must not repeat the secret that failed.
///
/// Strings and [`Token`]s are credentials that never change.
pub trait Credentials: Send + Sync + 'static {
    /// Fetches a token.
    ///
    /// # Errors
    ///
    /// Whatever keeps a token from being had now.
    ///
    /// # Cancel safety
    ///
    /// The future is dropped when it takes longer than ten seconds, or when the session is dropped.
    fn token(&self) -> Fetching<'_>;
}

impl Credentials for Token {
    fn token(&self) -> Fetching<'_> {
        let token = self.clone();
        Box::pin(async move { Ok(token) })
    }
}

impl Credentials for String {
    fn token(&self) -> Fetching<'_> {
        let token = Token::new(self.as_str());
        Box::pin(async move { Ok(token) })
    }
}

impl Credentials for &'static str {
    fn token(&self) -> Fetching<'_> {
        let token = Token::new(*self);
        Box::pin(async move { Ok(token) })
    }
}

impl<C: Credentials + ?Sized> Credentials for Arc<C> {
    fn token(&self) -> Fetching<'_> {
        (**self).token()
    }
}

/// Credentials from an async function.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use rpc_client::credentials::{Token, from_fn};
///
/// let credentials = from_fn(|| async {
///     let text = "fetched from the issuer".to_owned();
///     Ok(Token::new(text).expires_in(Duration::from_secs(300)))
/// });
/// ```
pub fn from_fn<F, Fut>(fetch: F) -> FromFn<F>
where
    F: Fn() -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Token, BoxError>> + Send + 'static,
{
    FromFn { fetch }
}

/// What [`from_fn`] makes.
#[derive(Clone, Copy)]
pub struct FromFn<F> {
    fetch: F,
}

impl<F> fmt::Debug for FromFn<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FromFn").finish_non_exhaustive()
    }
}

impl<F, Fut> Credentials for FromFn<F>
where
    F: Fn() -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Token, BoxError>> + Send + 'static,
{
    fn token(&self) -> Fetching<'_> {
        Box::pin((self.fetch)())
    }
}

/// The token in use, fetched again when it is stale.
pub(crate) struct Wallet {
    credentials: Arc<dyn Credentials>,
    /// Held while a token is fetched: callers that find a stale token wait for one fetch together.
    held: Mutex<Option<Held>>,
    /// How many fetches failed. Who waited for one that failed shares its failure: fetches that hang would otherwise
    /// follow one another, ten seconds for each caller in the line.
    failures: AtomicU64,
}

struct Held {
    bearer: HeaderValue,
    /// `None`: nobody knows when it ends.
    stale_at: Option<Instant>,
}

/// Longest time for one fetch.
const FETCH_TIMEOUT: Duration = Duration::from_secs(10);

impl Wallet {
    pub(crate) fn new(credentials: Arc<dyn Credentials>) -> Self {
        Self { credentials, held: Mutex::new(None), failures: AtomicU64::new(0) }
    }

    /// The token in use, or a new one if it is stale.
    pub(crate) async fn current(&self) -> Result<HeaderValue, BoxError> {
        let failures = self.failures.load(Ordering::Acquire);
        let mut held = self.held.lock().await;
        match &*held {
            Some(token) if token.stale_at.is_none_or(|at| Instant::now() < at) => Ok(token.bearer.clone()),
            Some(_) | None if self.failures.load(Ordering::Acquire) > failures => {
                Err("the fetch that this call waited for failed".into())
            }
            Some(_) | None => self.fetch(&mut held).await,
        }
    }

    /// A new token, in place of the one in use.
    pub(crate) async fn fresh(&self) -> Result<HeaderValue, BoxError> {
        self.fetch(&mut *self.held.lock().await).await
    }

    /// The server has said how long the token in use lasts.
    pub(crate) async fn lasts(&self, authority: Duration) {
        if let Some(held) = &mut *self.held.lock().await {
            held.stale_at = [held.stale_at, stale_at(authority)].into_iter().flatten().min();
        }
    }

    async fn fetch(&self, held: &mut Option<Held>) -> Result<HeaderValue, BoxError> {
        let fetched = self.fetch_in_time().await;
        if fetched.is_err() {
            self.failures.fetch_add(1, Ordering::AcqRel);
        }
        let token = fetched?;
        let bearer = token.bearer()?;
        *held = Some(Held { bearer: bearer.clone(), stale_at: token.expires_in.and_then(stale_at) });
        Ok(bearer)
    }

    async fn fetch_in_time(&self) -> Result<Token, BoxError> {
        tokio::time::timeout(FETCH_TIMEOUT, self.credentials.token())
            .await
            .map_err(|_| format!("no token within {FETCH_TIMEOUT:?}"))?
    }
}

/// `None`: so late that the clock does not reach it.
fn stale_at(lasts: Duration) -> Option<Instant> {
    Instant::now().checked_add((lasts / 5 * 4).min(lasts.saturating_sub(FRESH_FOR_MIN).max(lasts / 2)))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU32;

    use super::*;

    fn counting(expires_in: Option<Duration>) -> Wallet {
        let count = AtomicU32::new(0);
        Wallet::new(Arc::new(from_fn(move || {
            let text = format!("token-{}", count.fetch_add(1, Ordering::Relaxed));
            async move {
                let token = Token::new(text);
                Ok(match expires_in {
                    Some(lasts) => token.expires_in(lasts),
                    None => token,
                })
            }
        })))
    }

    //= test W-13
    #[test]
    fn tokens_do_not_print() {
        let token = Token::new("CANARY");
        assert!(!format!("{token:?} {:?}", token.bearer().unwrap()).contains("CANARY"));
        let error = Token::new("CANARY\n").bearer().unwrap_err();
        assert!(!format!("{error} {error:?}").contains("CANARY"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_is_used_until_shortly_before_its_end() {
        let wallet = counting(Some(Duration::from_secs(100)));
        assert_eq!(wallet.current().await.unwrap(), "Bearer token-0");
        tokio::time::advance(Duration::from_secs(79)).await;
        assert_eq!(wallet.current().await.unwrap(), "Bearer token-0");
        tokio::time::advance(Duration::from_secs(2)).await;
        assert_eq!(wallet.current().await.unwrap(), "Bearer token-1");
        assert_eq!(wallet.fresh().await.unwrap(), "Bearer token-2");
    }

    #[tokio::test(start_paused = true)]
    async fn what_the_server_says_counts_where_the_token_says_nothing() {
        let wallet = counting(None);
        wallet.current().await.unwrap();
        wallet.lasts(Duration::from_secs(10)).await;
        tokio::time::advance(Duration::from_secs(6)).await;
        assert_eq!(wallet.current().await.unwrap(), "Bearer token-1");
    }

    #[tokio::test]
    async fn a_token_may_last_for_ever() {
        let wallet = counting(Some(Duration::MAX));
        wallet.lasts(Duration::MAX).await;
        for _ in 0..2 {
            assert_eq!(wallet.current().await.unwrap(), "Bearer token-0");
        }
        wallet.lasts(Duration::MAX).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_fetch_that_hangs_is_given_up() {
        let wallet = Wallet::new(Arc::new(from_fn(std::future::pending::<Result<Token, BoxError>>)));
        assert!(wallet.current().await.unwrap_err().to_string().contains("10s"));
    }
}
