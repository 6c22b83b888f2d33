//! The contract as tests, each named after what is promised, run against every store.
//!
//! PostgreSQL is found by `IT_POSTGRES_URL`; each test makes a database of its own inside and drops it at the end.

mod accepting;
mod agree;
mod commits;
mod conflicts;
mod crash;
mod delivering;
mod disclosures;
mod endpoints;
mod feeds;
mod folds;
mod journal;
mod journeys;
mod leases;
mod make;
mod opening;
mod over;
mod pushes;
mod records;
mod replays;
mod retention;
mod sequences;
mod stand;
mod upkeep;

use stand::{Store, keep};

/// One test a promise and store.
macro_rules! promises {
    ($on:ident = $store:expr; $($module:ident: $($name:ident)+;)+) => {
        mod $on {
            $(mod $module {
                $(#[test]
                fn $name() {
                    super::super::keep($store, super::super::$module::$name);
                })+
            })+
        }
    };
}

/// What every store promises.
macro_rules! everywhere {
    ($on:ident = $store:expr) => {
        promises! { $on = $store;
            leases:
                a_lease_has_one_owner_at_a_time
                of_many_who_ask_at_once_one_gets_the_lease
                a_lease_that_is_kept_stays
                a_lease_is_held_until_it_is_over_or_given_back
                a_lost_lease_can_neither_be_kept_nor_given_back
                a_lease_that_was_given_back_is_free_and_lost;
            records:
                records_and_links_read_back_as_written
                moments_are_cut_to_microseconds
                what_is_not_known_is_left_out
                records_are_listed_page_by_page
                a_record_is_met_by_its_present_keys_only
                a_second_link_of_a_record_replaces_the_first
                of_links_made_at_once_for_one_record_one_stays
                linked_ids_are_listed_page_by_page
                what_was_seen_is_told_where_it_was_agreed_on
                two_records_may_trade_their_objects
                history_is_told_oldest_first
                what_is_parked_is_listed_until_it_is_not
                what_is_parked_is_counted_by_cause
                a_cursor_is_where_reading_stands
                who_waits_for_an_object_is_looked_at_when_it_is_linked
                text_with_a_nul_breaks_nothing;
            commits:
                a_stale_commit_writes_nothing_and_names_all_that_is_stale
                a_record_may_be_written_twice_in_a_chain
                of_many_who_change_a_record_at_once_one_wins
                commits_that_meet_end_one_way_or_the_other
                nobody_may_come_under_a_key_meanwhile
                of_new_records_that_fit_alike_one_is_made
                a_claimed_link_replaces_no_living_one
                a_link_replaces_only_the_one_that_was_read
                of_links_that_are_claimed_at_once_one_is_made
                a_commit_with_a_lost_lease_writes_nothing
                a_commit_leaves_out_events_that_are_known;
            conflicts:
                conflicts_read_back_as_written
                an_open_conflict_is_replaced_and_a_closed_one_is_not
                of_two_open_conflicts_about_the_same_one_stays
                conflicts_are_listed_oldest_first_page_by_page
                the_open_conflicts_of_records_are_told;
            journeys:
                what_became_of_writes_is_told_oldest_first
                what_a_record_is_owed_to_is_told
                an_event_is_found_by_what_its_source_calls_it;
            pushes:
                marking_counts_and_starts_again
                done_is_done_only_up_to_the_mark_that_was_read
                all_that_is_linked_can_be_marked_at_once
                later_counts_an_attempt_and_waits
                what_was_sent_is_kept_until_it_is_heard_of
                pushes_come_oldest_due_first
                all_pushes_are_listed_page_by_page;
            over:
                an_overlay_shows_what_would_be_and_leaves_what_is
                an_overlay_refuses_what_is_stale_below
                an_overlay_takes_pushes_over_whole
                an_overlay_takes_what_is_due_at_an_inlet
                an_overlay_knows_who_was_told_below;
            journal:
                what_was_done_is_listed_newest_first
                an_action_is_undone_once
                what_a_refused_commit_did_is_not_in_the_journal
                a_record_that_was_merged_away_is_still_found_by_its_keys
                a_link_that_is_forgotten_is_nobodys
                what_is_ignored_is_not_asked_for_nor_owed;
            accepting:
                what_a_source_says_twice_is_a_duplicate
                the_same_thing_twice_in_one_batch_is_a_duplicate
                racing_duplicates_get_one_id
                who_was_answered_first_comes_first
                a_bad_event_fails_alone
                an_event_reads_back_with_its_deliveries
                through_whom_an_event_came_is_kept
                how_an_event_arrived_is_kept_and_events_are_listed;
            delivering:
                deliveries_are_due_at_once_in_the_order_of_acceptance
                what_is_tried_again_keeps_its_place
                what_arrived_or_died_is_not_due
                an_attempt_is_written_down_once
                what_arrived_stays_so
                attempts_of_unknown_deliveries_are_left_out
                settling_with_a_lost_lease_writes_nothing
                endpoints_are_told_with_their_first_moment
                deliveries_are_retried_by_what_is_asked
                deliveries_are_listed_newest_first
                refusals_are_kept_up_to_a_number;
            disclosures:
                what_was_told_of_a_record_is_one_question
                what_was_pulled_was_told_once_by_the_same_terms
                who_was_told_of_which_records_is_asked_at_once;
            endpoints:
                a_stopped_endpoint_yields_nothing
                how_an_endpoint_stands_is_told_as_noted_last
                a_turn_ends_whole_or_not_at_all
                turns_at_many_endpoints_do_not_mix
                an_endpoint_that_rests_is_due_later
                of_a_line_one_is_due_at_a_time
                those_in_lines_and_those_in_none_are_settled_side_by_side
                what_is_tried_again_holds_back_its_line_alone
                who_died_holds_nobody_back;
            sequences:
                an_endpoint_counts_what_it_is_told_and_nothing_else
                a_number_stays_whatever_becomes_of_its_delivery
                what_was_removed_gives_no_number_back;
            feeds:
                what_was_pulled_has_arrived_whatever_became_of_it_before
                a_feed_is_read_in_the_order_of_acceptance_whatever_became_of_it
                what_was_removed_does_not_come_again_under_its_number;
            folds:
                the_newest_goes_for_all_that_wait_before_it
                what_is_in_flight_or_was_asked_for_is_not_folded
                what_was_folded_stays_so
                a_long_line_is_folded_in_pieces;
            replays:
                a_replay_makes_due_what_it_means_bite_by_bite
                a_bite_waits_until_the_one_before_was_tried
                a_replay_that_is_cancelled_is_over
                what_is_replayed_stands_in_its_line
                replays_are_counted_and_listed;
            retention:
                what_arrived_long_ago_is_removed_and_nothing_that_is_on_its_way
                it_is_done_in_bites_and_stops_at_what_is_younger
                who_lost_the_lease_removes_nothing;
            upkeep:
                all_that_is_owed_is_told_once
                what_waits_is_counted_up_to_a_limit
                a_run_is_noted_and_ended
                a_sealed_value_is_kept_as_it_is
                how_a_connection_stands_is_told_as_noted_last
                fields_stay_in_quarantine_until_they_are_released
                the_check_writes;
        }
    };
}

/// What every store promises that outlives the process.
macro_rules! on_disk {
    ($on:ident = $store:expr) => {
        promises! { $on = $store;
            leases:
                tokens_survive_a_restart;
            commits:
                after_a_lease_was_given_on_no_late_commit_succeeds
                two_nodes_make_one_of_new_records_that_fit_alike
                two_nodes_claim_one_object_of_a_record;
            accepting:
                what_was_answered_is_there_after_a_restart
                two_nodes_give_a_racing_duplicate_one_id
                more_than_may_wait_is_refused_and_nothing_else;
            endpoints:
                nothing_stays_held_when_adding_and_ending_meet
                a_turn_is_one_node_s_at_a_time_and_the_next_sees_what_it_left
                what_others_write_is_told;
            sequences:
                nodes_count_together;
            opening:
                opening_twice_changes_nothing
                many_may_open_a_new_database_at_once
                who_referred_before_it_was_kept_is_found
                a_newer_database_is_refused;
            crash:
                what_was_acknowledged_survives_being_killed;
        }
    };
}

everywhere!(in_memory = crate::suite::Store::Memory);
everywhere!(on_sqlite = crate::suite::Store::Sqlite);
everywhere!(in_an_overlay = crate::suite::Store::Overlay);
everywhere!(on_postgres = crate::suite::Store::Postgres);
on_disk!(on_sqlite_file = crate::suite::Store::Sqlite);
on_disk!(on_postgres_server = crate::suite::Store::Postgres);
