//! All cells of a run, some at a time.

use super::document::Cell;
use super::store::{Key, Store};
use anyhow::Result;
use futures_util::stream::{self, StreamExt};

/// A run's cells in their order, from the store as far as they are there and complete, else by `run`, at most `jobs`
/// at a time, those of a lower `turn` first. Each is stored as soon as it is finished; `Err` beside them says why one could
/// not be.
pub async fn run<T: Ord>(
    keys: &[Option<Key>],
    jobs: usize,
    turn: impl Fn(usize) -> T,
    store: &mut Option<Store>,
    run: impl AsyncFn(usize) -> Cell,
) -> (Vec<Cell>, Result<()>) {
    let kept = |key: &Option<Key>| store.as_ref()?.find(key.as_ref()?);
    let mut cells: Vec<Option<Cell>> = keys.iter().map(kept).collect();
    let mut missing: Vec<usize> = (0..keys.len()).filter(|index| cells[*index].is_none()).collect();
    missing.sort_by_key(|index| turn(*index));
    let run = &run;
    let each = missing.into_iter().map(|index| async move { (index, run(index).await) });
    let mut finished = stream::iter(each).buffer_unordered(jobs.max(1));
    let mut stored = Ok(());
    while let Some((index, cell)) = finished.next().await {
        if let (Some(store), Some(key), Ok(())) = (store.as_mut(), &keys[index], &stored) {
            stored = store.append(key, &cell);
        }
        cells[index] = Some(cell);
    }
    (cells.into_iter().flatten().collect(), stored)
}

#[cfg(test)]
mod tests {
    use super::super::document::tests::cell;
    use super::super::schedule::Times;
    use super::*;
    use blkstay_engine::journal::Outcome;
    use std::cell::{Cell as Slot, RefCell};
    use std::path::Path;

    const KERNELS: [&str; 4] = ["a", "b", "c", "d"];

    fn keys() -> Vec<Option<Key>> {
        let times = Times { each: 10, natural: false };
        let key =
            |kernel: &str| Key { case: "race".into(), kernel: kernel.into(), times, made_of: kernel.into() };
        KERNELS.iter().map(|kernel| Some(key(kernel))).collect()
    }

    /// Runs the four cells with a runner that makes no guests; says what came out and what was run, in order.
    fn attempt(
        store: Option<&Path>,
        jobs: usize,
        verdict: impl Fn(usize) -> Outcome,
    ) -> (Vec<Cell>, Vec<usize>) {
        let ran = RefCell::new(Vec::new());
        let mut store = store.map(|path| Store::open(path).expect("a store"));
        let runner = async |index: usize| {
            ran.borrow_mut().push(index);
            // Later ones finish first.
            for _ in index..KERNELS.len() {
                tokio::task::yield_now().await;
            }
            cell("race", KERNELS[index], verdict(index))
        };
        let (cells, stored) = block_on(super::run(&keys(), jobs, |_| 0, &mut store, runner));
        stored.expect("stored");
        (cells, ran.into_inner())
    }

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().build().expect("a runtime").block_on(future)
    }

    #[test]
    fn cells_come_out_in_their_order_whichever_finishes_first() {
        let (cells, _) = attempt(None, 4, |_| Outcome::Open);
        let specs: Vec<&str> = cells.iter().map(|cell| cell.spec.as_str()).collect();
        assert_eq!(specs, KERNELS);
    }

    #[test]
    fn those_of_a_lower_turn_are_run_first_and_come_out_in_their_place() {
        let ran = RefCell::new(Vec::new());
        let runner = async |index: usize| {
            ran.borrow_mut().push(index);
            cell("race", KERNELS[index], Outcome::Open)
        };
        let (cells, _) = block_on(super::run(&keys(), 1, |index| index % 2, &mut None, runner));
        let specs: Vec<&str> = cells.iter().map(|cell| cell.spec.as_str()).collect();
        assert_eq!((ran.into_inner(), specs), (vec![0, 2, 1, 3], KERNELS.to_vec()));
    }

    #[test]
    fn no_more_run_at_a_time_than_there_are_jobs() {
        let (now, most) = (Slot::new(0), Slot::new(0));
        let runner = async |index: usize| {
            now.set(now.get() + 1);
            most.set(most.get().max(now.get()));
            tokio::task::yield_now().await;
            now.set(now.get() - 1);
            cell("race", KERNELS[index], Outcome::Open)
        };
        block_on(super::run(&keys(), 2, |_| 0, &mut None, runner)).1.expect("nothing to store");
        assert_eq!(most.get(), 2);
    }

    #[test]
    fn a_second_run_makes_only_what_is_missing_or_was_lost() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("results");
        let some = |index| if index == 1 { Outcome::Lost } else { Outcome::Open };
        assert_eq!(attempt(Some(&path), 1, some).1, [0, 1, 2, 3]);
        let (cells, ran) = attempt(Some(&path), 1, |_| Outcome::Closed);
        assert_eq!(ran, [1]);
        let verdicts: Vec<Outcome> = cells.iter().map(|cell| cell.verdict).collect();
        assert_eq!(verdicts, [Outcome::Open, Outcome::Closed, Outcome::Open, Outcome::Open]);
        let resumed: Vec<bool> = cells.iter().map(|cell| cell.resumed).collect();
        assert_eq!(resumed, [true, false, true, true]);
    }

    #[test]
    fn an_interrupted_run_loses_at_most_what_was_running() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("results");
        let mut store = Some(Store::open(&path).expect("a store"));
        let keys = keys();
        let runner = async |index: usize| {
            if index == 2 {
                std::future::pending::<()>().await;
            }
            cell("race", KERNELS[index], Outcome::Open)
        };
        block_on(async {
            tokio::select! {
                biased;
                _ = super::run(&keys, 1, |_| 0, &mut store, runner) => panic!("one never ends"),
                () = tokio::task::yield_now() => {}
            }
        });
        drop(store);
        assert_eq!(attempt(Some(&path), 1, |_| Outcome::Open).1, [2, 3]);
    }
}
