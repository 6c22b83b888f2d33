//! The contract suite: every promise of this crate, asked of both backends.
//!
//! Each case takes the [`Kind`] of backend it runs against, and `contract!` makes two tests of it.
//! Cases that need a server to fail, or a process to kill, are Redis's own (`outage.rs`, `killed.rs`).
//! The numbers in the comments are those of the findings about apalis's own storage crates that a case answers.
//!
//! No case depends on a sleep to be right: it waits for what must happen, with a deadline that only a defect reaches.

mod crowd;
mod failing;
mod killed;
mod model;
mod order;
mod outage;
mod patience;
mod redis_server;
mod stage;
mod stopping;

use stage::Kind;

macro_rules! contract {
    ($($module:ident { $($case:ident),* $(,)? })*) => {
        mod in_memory {
            $($(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    super::$module::$case(super::Kind::Memory).await;
                }
            )*)*
        }
        mod in_redis {
            $($(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    super::$module::$case(super::Kind::Redis).await;
                }
            )*)*
        }
    };
}

contract! {
    order {
        every_nudge_wakes_an_idle_worker,
        a_job_is_queued_once,
        a_nudge_during_a_run_means_one_more_run,
        live_goes_before_retries_before_backfill,
        a_nudge_raises_the_priority_and_brings_the_time_forward,
        a_delayed_job_is_never_early,
        again_comes_back_at_its_time_with_fresh_attempts,
        a_nudge_brings_again_forward,
        a_key_that_is_too_long_is_refused,
        a_node_whose_clock_is_wrong_waits_as_long_as_it_says,
    }
    failing {
        attempts_end_in_the_dead_set_and_a_release_begins_anew,
        a_nudge_does_not_wake_the_dead,
        a_job_backs_off_and_nudges_do_not_shorten_it,
        a_job_that_backs_off_holds_no_slot,
        a_dead_verdict_ends_it_at_once,
        a_panic_leaks_no_slot_and_ends_dead,
        a_failed_job_gives_way_to_live_work,
    }
    crowd {
        saturation_runs_nothing_twice,
        a_backlog_of_fifty_thousand_drains,
        two_replicas_queue_a_job_once,
        workers_of_one_name_share_the_work,
        a_vanished_worker_s_jobs_go_to_another_with_the_attempt_counted,
        a_storm_of_nudges_loses_nothing_and_overlaps_nothing,
        a_job_whose_workers_always_vanish_ends_dead,
        a_stale_token_is_refused,
        suspects_run_one_at_a_time,
    }
    stopping {
        a_stop_waits_for_the_running_and_hands_back_the_unstarted,
        a_stop_tells_the_running_look,
        a_stop_takes_no_longer_than_its_timeout,
        a_restart_under_the_same_name_is_accepted_at_once,
    }
}
