//! Histories by which a session once told the client of [`super::reference`] something else than it had, by name.

use super::{
    super::Variant,
    reference::{Manners, Op, run, run_with},
};
use std::collections::BTreeSet;

#[test]
fn what_was_on_its_way_when_the_wildcard_was_left_is_told_as_gone() {
    let ops = vec![
        Op::Subscribe(0, BTreeSet::new(), false),
        Op::Ready,
        Op::Change(vec![(0, 2, Some(0))]),
        Op::Reconnect,
        Op::Change(vec![(0, 2, None)]),
        Op::Subscribe(0, BTreeSet::from([3]), false),
        Op::Subscribe(0, BTreeSet::new(), true),
    ];
    run(Variant::Delta, ops).unwrap();
}

#[test]
fn what_was_on_its_way_when_its_name_was_left_is_told_as_gone() {
    let ops = vec![
        Op::Ready,
        Op::Change(vec![(2, 4, Some(0))]),
        Op::Subscribe(2, BTreeSet::from([4]), false),
        Op::Change(vec![(2, 4, None)]),
        Op::Subscribe(2, BTreeSet::new(), false),
        Op::Wait(500),
        Op::Subscribe(2, BTreeSet::new(), true),
    ];
    run(Variant::Delta, ops).unwrap();
}

#[test]
fn who_leaves_everything_before_its_answer_and_comes_back_is_sent_all() {
    let ops = vec![
        Op::Ready,
        Op::Change(vec![(0, 0, Some(0))]),
        Op::Subscribe(0, BTreeSet::new(), true),
        Op::Read,
        Op::Reconnect,
        Op::Subscribe(0, BTreeSet::new(), false),
        Op::Subscribe(0, BTreeSet::new(), true),
    ];
    run(Variant::Sotw, ops).unwrap();
}

#[test]
fn what_went_while_a_client_was_away_is_told_though_it_now_wants_it_by_the_wildcard_only() {
    let route = |value| Op::Change(vec![(2, 2, value)]);
    let named = Op::Subscribe(2, BTreeSet::from([2]), false);
    let wildcard = Op::Subscribe(2, BTreeSet::new(), true);
    let ops = vec![named, Op::Ready, route(Some(0)), Op::Read, route(None), Op::Reconnect, wildcard];
    run(Variant::Delta, ops).unwrap();
}

#[test]
fn who_comes_back_and_leaves_a_name_before_its_answer_is_sent_it_again() {
    let named = |names: &[u8]| Op::Subscribe(2, names.iter().copied().collect(), false);
    let ops = vec![
        Op::Change(vec![(2, 0, Some(0))]),
        Op::Ready,
        named(&[0]),
        Op::Read,
        Op::Reconnect,
        named(&[]),
        named(&[0]),
    ];
    run(Variant::Delta, ops).unwrap();
}

#[test]
fn what_is_asked_for_is_told_as_gone_though_clusters_wait() {
    let ops = vec![
        Op::Rest,
        Op::Subscribe(0, BTreeSet::new(), false),
        Op::Change(vec![(1, 3, Some(0))]),
        Op::Subscribe(1, BTreeSet::from([0]), false),
        Op::Change(vec![(1, 3, None), (0, 0, Some(0))]),
        Op::Subscribe(1, BTreeSet::from([3]), false),
        Op::Change(vec![(1, 3, Some(0))]),
    ];
    run(Variant::Delta, ops.clone()).unwrap();
    run(Variant::Sotw, ops).unwrap();
    // And once absence is certain.
    let ops = vec![
        Op::Ready,
        Op::Subscribe(0, BTreeSet::from([3]), false),
        Op::Subscribe(2, BTreeSet::new(), true),
        Op::Change(vec![(0, 3, Some(2))]),
        Op::Change(vec![(0, 3, None)]),
        Op::Change(vec![(2, 0, Some(0))]),
        Op::Ready,
        Op::Change(vec![(0, 3, Some(2))]),
    ];
    run(Variant::Delta, ops).unwrap();
}

#[test]
fn what_went_before_everything_was_wanted_is_not_kept_for_routes() {
    for names in [BTreeSet::from([0]), BTreeSet::from([2])] {
        let ops = vec![
            Op::Ready,
            Op::Change(vec![(0, 1, Some(0))]),
            Op::Ready,
            Op::Subscribe(0, names, false),
            Op::Change(vec![(0, 1, None)]),
            Op::Subscribe(2, BTreeSet::from([0]), false),
            Op::Change(vec![(0, 0, Some(0)), (2, 0, Some(0))]),
            Op::Subscribe(0, BTreeSet::new(), true),
            Op::Change(vec![(0, 1, Some(0))]),
        ];
        run(Variant::Delta, ops.clone()).unwrap();
        run(Variant::Sotw, ops).unwrap();
    }
}

#[test]
fn what_is_refused_behind_what_was_taken_leaves_that() {
    let wait = || Op::Wait(500);
    let change = |value| Op::Change(vec![(0, 3, value)]);
    let ops = vec![
        Op::Ready,
        Op::Subscribe(0, BTreeSet::from([3]), false),
        wait(),
        change(Some(0)),
        change(Some(1)),
        wait(),
        change(Some(0)),
    ];
    run_with(Variant::Sotw, refusing((0, 3, 0)), ops.clone()).unwrap();
    run_with(Variant::Delta, refusing((0, 3, 0)), ops).unwrap();
}

#[test]
fn who_has_refused_a_name_is_told_when_it_is_gone_though_there_was_another_version() {
    let change = |value| Op::Change(vec![(0, 4, value)]);
    let ops = vec![
        change(Some(0)),
        Op::Change(vec![(0, 0, Some(0))]),
        Op::Subscribe(0, BTreeSet::from([4]), true),
        Op::Ready,
        Op::Read,
        Op::Acknowledge(0),
        change(Some(1)),
        change(None),
    ];
    let manners = Manners { names: true, ..refusing((0, 4, 0)) };
    run_with(Variant::Delta, manners, ops).unwrap();
}

/// A client that names nobody and takes nothing of what it refuses.
fn refusing(refused: (usize, u8, u8)) -> Manners {
    Manners { refuses: BTreeSet::from([refused]), names: false, takes_rest: false }
}

#[test]
fn who_wanted_one_and_then_all_had_accepted_that_one_alone() {
    let ops = vec![
        Op::Change(vec![(0, 0, Some(0)), (0, 4, Some(0))]),
        Op::Subscribe(0, BTreeSet::from([1]), false),
        Op::Ready,
        Op::Subscribe(0, BTreeSet::new(), true),
    ];
    run_with(Variant::Sotw, refusing((0, 4, 0)), ops).unwrap();
}

#[test]
fn what_an_answer_repeats_may_be_what_was_refused() {
    let ops = vec![
        Op::Ready,
        Op::Change(vec![(0, 0, Some(1))]),
        Op::Subscribe(0, BTreeSet::new(), false),
        Op::Wait(500),
        Op::Change(vec![(0, 1, Some(0))]),
        Op::Change(vec![(0, 0, None)]),
    ];
    run_with(Variant::Sotw, refusing((0, 0, 1)), ops).unwrap();
    let ops = vec![
        Op::Ready,
        Op::Change(vec![(0, 1, Some(0)), (0, 0, Some(2)), (0, 4, Some(0))]),
        Op::Subscribe(0, BTreeSet::from([0, 1]), false),
        Op::Subscribe(0, BTreeSet::from([0, 4]), false),
    ];
    run_with(Variant::Sotw, refusing((0, 0, 2)), ops).unwrap();
}

#[test]
fn what_a_refused_answer_was_to_remove_is_removed_by_the_next() {
    let ops = vec![
        Op::Subscribe(0, BTreeSet::new(), false),
        Op::Change(vec![(0, 2, Some(0))]),
        Op::Ready,
        Op::Change(vec![(0, 4, Some(1))]),
        Op::Change(vec![(0, 2, None)]),
    ];
    run_with(Variant::Sotw, refusing((0, 4, 1)), ops).unwrap();
}

#[test]
fn what_is_gone_by_now_may_be_what_was_refused() {
    let ops = vec![
        Op::Change(vec![(0, 3, Some(1))]),
        Op::Subscribe(0, BTreeSet::new(), false),
        Op::Change(vec![(0, 0, Some(0))]),
        Op::Ready,
        Op::Change(vec![(0, 3, None)]),
    ];
    run_with(Variant::Sotw, refusing((0, 3, 1)), ops.clone()).unwrap();
    run_with(Variant::Delta, refusing((0, 3, 1)), ops).unwrap();
}

#[test]
fn what_a_search_holds_is_let_go_when_nobody_wants_it_any_more() {
    let ops = vec![
        Op::Ready,
        Op::Change(vec![(1, 2, Some(0)), (1, 1, Some(1))]),
        Op::Subscribe(1, BTreeSet::new(), true),
        Op::Read,
        Op::Acknowledge(1),
        Op::Subscribe(1, BTreeSet::new(), false),
        Op::Subscribe(1, BTreeSet::new(), true),
    ];
    run_with(Variant::Sotw, refusing((1, 1, 1)), ops.clone()).unwrap();
    run_with(Variant::Delta, refusing((1, 1, 1)), ops).unwrap();
}

#[test]
fn who_refuses_something_and_comes_back_to_everything_holds_all_the_rest() {
    let manners = Manners { refuses: BTreeSet::from([(0, 2, 2)]), names: false, takes_rest: false };
    let ops = vec![
        Op::Subscribe(0, BTreeSet::new(), false),
        Op::Rest,
        Op::Change(vec![(0, 3, Some(0))]),
        Op::Subscribe(0, BTreeSet::from([0]), false),
        Op::Change(vec![(0, 2, Some(2))]),
        Op::Read,
        Op::Subscribe(0, BTreeSet::new(), true),
    ];
    run_with(Variant::Sotw, manners, ops).unwrap();
}
