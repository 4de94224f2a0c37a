//! Who works on which file of the archive.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;

use super::name::Name;
use super::trouble::Trouble;

/// How long a name is waited for. Who goes on with an upload may come while the disk is still busy with what was
/// interrupted.
const WAIT: Duration = Duration::from_secs(10);

/// Names that are being written to. Cheap to clone; every clone is the same table. As large as there are uploads.
#[derive(Debug, Clone, Default)]
pub struct Claims(Arc<watch::Sender<BTreeSet<Name>>>);

/// The right to write to the file of one name. Dropping it gives it up.
#[derive(Debug)]
pub struct Claim {
    claims: Claims,
    name: Name,
}

impl Claims {
    /// Claims a name, waiting for up to ten seconds.
    ///
    /// # Errors
    ///
    /// [`Trouble::Busy`]: somebody else had it all the time.
    pub async fn claim(&self, name: &Name) -> Result<Claim, Trouble> {
        let mut names = self.0.subscribe();
        let claimed = async {
            while !self.0.send_if_modified(|names| names.insert(name.clone())) {
                // The sender lives in `self`, so waiting cannot fail.
                let _ = names.wait_for(|names| !names.contains(name)).await;
            }
            Claim { claims: self.clone(), name: name.clone() }
        };
        timeout(WAIT, claimed).await.map_err(|_| Trouble::Busy)
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.claims.0.send_modify(|names| {
            names.remove(&self.name);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_at_a_time_has_a_name() {
        let claims = Claims::default();
        let (a, b) = (Name::new("a").unwrap(), Name::new("b").unwrap());
        let first = claims.claim(&a).await.unwrap();
        claims.claim(&b).await.unwrap();
        assert!(matches!(claims.claim(&a).await, Err(Trouble::Busy)));
        let waiting = tokio::spawn({
            let claims = claims.clone();
            async move { claims.claim(&a).await.is_ok() }
        });
        drop(first);
        assert!(waiting.await.unwrap());
    }
}
