//! How long a drain may take.
//!
//! A drain has the grace to write its checkpoint and to give the job back. What is not done by then is
//! given up: the job goes back as its last checkpoint has it. After twice the grace the process is cut.

use std::time::Duration;

use temper_service::stop::Stop;
use tokio_util::sync::CancellationToken;

/// Waits for the stop, then for the grace, upon which `late` is cancelled, and for the grace again,
/// upon which the stop cuts. Never ends before that.
pub(crate) async fn limit(grace: Duration, stop: &Stop, late: &CancellationToken) {
    stop.graceful.cancelled().await;
    tokio::time::sleep(grace).await;
    tracing::warn!(?grace, "the grace is over: giving back what is not done");
    late.cancel();
    tokio::time::sleep(grace).await;
    tracing::warn!(?grace, "twice the grace is over: cutting");
    stop.now();
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn drain_is_late_after_the_grace_and_cut_after_twice_of_it() {
        let (stop, late) = (Stop::new(), CancellationToken::new());
        let grace = Duration::from_secs(30);
        stop.gracefully();
        let began = Instant::now();
        let limited = limit(grace, &stop, &late);
        let told = async {
            late.cancelled().await;
            assert!(!stop.cut.is_cancelled());
            began.elapsed()
        };
        let (told, ()) = tokio::join!(told, limited);
        assert_eq!(told, grace);
        assert!(stop.cut.is_cancelled());
        assert_eq!(began.elapsed(), 2 * grace);
    }
}
