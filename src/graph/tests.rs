//! Small graphs by hand, and laws over random ones.

use proptest::prelude::*;

use super::*;

fn path(number: usize) -> StorePath {
    let mut bytes = [0; 20];
    bytes[19] = u8::try_from(number).unwrap();
    StorePath::new(
        HashPart::from_bytes(bytes),
        format!("p{number}").parse().unwrap(),
    )
}

/// Builds a graph of `rows.len()` paths; row `i` has the numbers that path `i` refers to.
fn graph(rows: &[Vec<usize>]) -> Result<Graph, BuildError> {
    let paths: Vec<_> = (0..rows.len().max(200)).map(path).collect();
    let references: Vec<Vec<&StorePath>> = rows
        .iter()
        .map(|row| row.iter().map(|&to| &paths[to]).collect())
        .collect();
    Graph::build(
        paths
            .iter()
            .zip(&references)
            .map(|(p, r)| (p, r.iter().copied())),
    )
}

#[test]
fn a_reference_outside_the_graph_is_named() {
    assert_eq!(
        graph(&[vec![], vec![0, 7]]),
        Err(BuildError::Dangling {
            referrer: path(1),
            reference: path(7)
        }),
    );
}

#[test]
fn a_path_that_is_given_twice_is_refused() {
    let twice = [path(1), path(1)];
    let none: [&StorePath; 0] = [];
    assert_eq!(
        Graph::build(twice.iter().map(|p| (p, none))),
        Err(BuildError::Twice(path(1)))
    );
}

#[test]
fn a_reference_to_itself_is_no_edge() {
    let graph = graph(&[vec![0], vec![0, 1]]).unwrap();
    assert_eq!(graph.references(0), &[] as &[Node]);
    assert_eq!(graph.references(1), &[0]);
    assert_eq!(graph.referrers(0), &[1]);
}

#[test]
fn a_circle_is_an_error_that_has_all_it_holds_up() {
    let graph = graph(&[vec![], vec![0, 2], vec![1], vec![2]]).unwrap();
    assert_eq!(graph.references_first(), Err(Cycle(vec![1, 2, 3])));
}

#[test]
fn levels_are_counted_along_the_longest_chain_of_referrers() {
    // 3 needs 2 and 0, 2 needs 1, 1 needs 0, and nothing needs 4.
    let graph = graph(&[vec![], vec![0], vec![1], vec![2, 0], vec![]]).unwrap();
    let order = graph.references_first().unwrap();
    assert_eq!(graph.levels_above(&order), [3, 2, 1, 0, 0]);
}

#[test]
fn closures_follow_one_direction_only() {
    let graph = graph(&[vec![], vec![0], vec![1], vec![0]]).unwrap();
    assert_eq!(graph.closure([1]), [true, true, false, false]);
    assert_eq!(graph.referrers_closure([1]), [false, true, true, false]);
}

proptest! {
    #[test]
    fn every_reference_comes_before_its_referrer(
        rows in proptest::collection::vec(proptest::collection::vec(0usize..100, 0..6), 1..100)
    ) {
        // Only references to smaller numbers: that has no circle.
        let rows: Vec<Vec<usize>> = rows
            .iter()
            .enumerate()
            .map(|(own, row)| row.iter().copied().filter(|&to| to < own).collect())
            .collect();
        let graph = graph(&rows).unwrap();
        let order = graph.references_first().unwrap();
        let mut place = vec![usize::MAX; graph.len()];
        for (at, &node) in order.iter().enumerate() {
            place[index(node)] = at;
        }
        for node in graph.nodes() {
            prop_assert!(place[index(node)] < graph.len());
            for &reference in graph.references(node) {
                prop_assert!(place[index(reference)] < place[index(node)]);
                prop_assert!(graph.referrers(reference).contains(&node));
            }
        }
    }
}
