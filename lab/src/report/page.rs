//! The report as one HTML page that needs nothing else: no network, no script.

use super::cell::Cell;
use super::drawing::Drawing;
use super::input::by_case;
use super::scene::Scene;
use super::story::{Attempt, What};
use super::{svg, tell, words};
use crate::out::printable;
use crate::run::traffic::Phase;
use crate::run::word::Word;
use blkstay_engine::journal::Arm;
use maud::{DOCTYPE, Markup, PreEscaped, html};

const STYLE: &str = include_str!("style.css");

/// Writes the page.
pub fn write(cells: &[Cell]) -> String {
    let cases = by_case(cells);
    let title = match &cases[..] {
        [(case, _)] => format!("blkstay: {case}"),
        cases => format!("blkstay: {} cases", cases.len()),
    };
    let mut number = 0;
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="generator" content=(concat!("blkstay ", env!("CARGO_PKG_VERSION")));
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                (patterns())
                main {
                    header {
                        p.made { "blkstay report" }
                        @match &cases[..] {
                            [(case, cells)] => { h1 { (case) } (question(cells)) }
                            _ => { h1 { (cases.len()) " cases" } }
                        }
                    }
                    section { h2 { "Verdicts" } (table(&cases)) (glossary(cells)) }
                    (legend())
                    @for (case, cells) in &cases {
                        section.case {
                            @if cases.len() > 1 { h2 { (case) } (question(cells)) } @else { h2 { "What happened" } }
                            div.cells {
                                @for cell in cells { (article(cell, { number += 1; number })) }
                            }
                            (policy(cells))
                        }
                    }
                    footer { (tell::METHOD) }
                }
            }
        }
    }
    .into_string()
}

/// Patterns that every drawing shades with.
fn patterns() -> Markup {
    html! {
        svg.patterns width="0" height="0" aria-hidden="true" {
            defs {
                @for (id, class) in [("hatch", "hatch"), ("hatch-bad", "hatch bad")] {
                    pattern id=(id) class=(class) width="6" height="6" patternUnits="userSpaceOnUse"
                        patternTransform="rotate(45)" {
                        rect width="6" height="6" {}
                        line y2="6" stroke-width="5" {}
                    }
                }
            }
        }
    }
}

/// What the case asks.
fn question(cells: &[&Cell]) -> Markup {
    let (about, header) = tell::question(cells);
    html! {
        @if let Some(about) = about { p.about { (about) } }
        @if let Some(header) = header {
            details { summary { "What the case says of itself" } pre { (words::lines(&header)) } }
        }
    }
}

fn table(cases: &[(&str, Vec<&Cell>)]) -> Markup {
    html! {
        div.scroll tabindex="0" role="group" aria-label="Verdicts" {
            table {
                thead { tr {
                    th scope="col" { "kernel" }
                    th scope="col" { "verdict" }
                    th scope="col" { "forced" }
                    th scope="col" { "control" }
                    th scope="col" { "signs when forced" }
                } }
                @for (case, cells) in cases {
                    tbody {
                        @if cases.len() > 1 { tr { th.group colspan="5" scope="rowgroup" { (case) } } }
                        @for cell in cells { (row(cell)) }
                    }
                }
            }
        }
        p.note { "In brackets: the 95 % bounds (Clopper and Pearson) of the rate that so few attempts allow." }
    }
}

fn row(cell: &Cell) -> Markup {
    let control = cell.symptoms(Arm::Control);
    html! {
        tr {
            th scope="row" {
                (cell.release())
                @if let Some(variant) = cell.variant() { br; small { "variant " (variant.name) } }
                @for setting in cell.settings() { br; small { (setting) } }
            }
            td data-label="verdict" { (badge(cell.word())) }
            td data-label="forced" { div { (rates(cell, Arm::Forced)) } }
            td data-label="control" {
                div {
                    (rates(cell, Arm::Control))
                    @if control.of > 0 { br; small { "symptom in " (control.words()) } }
                    @if let Some(rate) = cell.by_chance() { br; small { "by chance: symptom in " (rate.words()) } }
                }
            }
            td data-label="signs" {
                div { @for (index, sign) in tell::signs(cell).iter().enumerate() {
                    @if index > 0 { br; }
                    (sign)
                } }
            }
        }
    }
}

fn rates(cell: &Cell, arm: Arm) -> Markup {
    let rates = cell.rates(arm);
    html! {
        @if rates.is_empty() { "none made" }
        @for (index, (word, rate)) in rates.iter().enumerate() {
            @if index > 0 { br; }
            (word) " " (rate.words())
        }
    }
}

fn badge(word: Word) -> Markup {
    html! { strong class={ "verdict " (word.outcome) } { (word) } }
}

/// The words that come up, and what they mean.
fn glossary(cells: &[Cell]) -> Markup {
    html! {
        dl.words {
            @for word in tell::words(cells) {
                div { dt { (badge(word)) } dd { (word.meaning()) } }
            }
        }
    }
}

fn legend() -> Markup {
    let key = |class: &str| html! { svg.key width="26" height="12" aria-hidden="true" { rect class=(class) y="1" width="26" height="10" {} } };
    html! {
        section.legend {
            h2 { "How to read the timelines" }
            ul {
                li { (key("task")) "a process of the guest is at work" }
                li { svg.key width="26" height="12" aria-hidden="true" { circle.mark.stuck cx="13" cy="6" r="4" {} }
                    "it is seen asleep" }
                li { (key("drive")) "a request is with the drive" }
                li { (key("held")) "it is held by the policy" }
                li { (key("expired")) "it is held until a watchdog ends that" }
                li { svg.key width="26" height="12" aria-hidden="true" {
                    g.arrow { path d="M1 6H18" {} path.head d="M26 6l-8 -4.5v9z" {} }
                } "what happened lets a request go on" }
                li { svg.key width="26" height="12" aria-hidden="true" { circle.mark.sign cx="13" cy="6" r="4" {} }
                    "a sign of the symptom" }
            }
            p.note { (tell::AXIS) }
            p.note.swipe { "On a screen as narrow as this, timelines go on to the right." }
        }
    }
}

fn article(cell: &Cell, number: usize) -> Markup {
    html! {
        article {
            h3 { (badge(cell.word())) " on " (cell.release())
                @if let Some(variant) = cell.variant() { " with " (variant.name) }
                @for setting in cell.settings() { ", " (setting) } }
            @let build = cell.build();
            @if !build.is_empty() { p.build { (build.join(" · ")) } }
            @for (arm, phases) in cell.traffic() { (costs(arm, phases)) }
            @match &cell.story {
                Some(_) if !cell.traffic().is_empty() => {}
                Some(story) => {
                    @for arm in [Arm::Control, Arm::Forced] {
                        @match story.typical(arm) {
                            Some((attempt, count)) => (figure(cell, attempt, count, &format!("c{number}{arm}"))),
                            None => p.note { "No " (arm) " attempt was made." },
                        }
                    }
                }
                None => p.note { "Its journal is not among what this report was made from: nothing to draw." },
            }
            @for note in cell.notes() { p.note { (printable(note)) } }
            p.command { "To see it again: " code { (cell.command()) } }
        }
    }
}

/// What phases cost.
fn costs(arm: &str, phases: &[Phase]) -> Markup {
    html! {
        p { (arm) " arm, " (tell::COSTS) }
        div.scroll {
            table.costs {
                thead { tr { @for name in Phase::HEADER { th scope="col" { (name) } } } }
                tbody {
                    @for phase in phases {
                        tr { @for (name, figure) in Phase::HEADER.iter().zip(phase.row()) { td data-label=(name) { (figure) } } }
                    }
                }
            }
        }
    }
}

fn figure(cell: &Cell, attempt: &Attempt, count: usize, id: &str) -> Markup {
    let story = cell.story.as_ref();
    let scene = Scene::new(attempt, story.and_then(|story| story.policy.as_ref()));
    let made = story.map_or(0, |story| story.arm(attempt.arm).count());
    let heading = tell::heading(attempt, count, made);
    let facts = tell::facts(&scene);
    html! {
        figure {
            figcaption {
                strong { (heading) }
                ul { @for fact in &facts { li { (fact) } } }
            }
            (svg::write(&Drawing::new(&scene), id, &heading, &facts.join(". ")))
            @if scene.before > 0 { p.note { "Before that, " (scene.before) " requests prepared the attempt." } }
            (stack(&scene))
            (kernel_log(&scene))
            details.moments {
                summary { "Every moment in words" }
                pre { (super::text::timeline(&scene)) }
            }
        }
    }
}

/// Where the guest slept, in full.
fn stack(scene: &Scene) -> Markup {
    html! {
        @for stuck in scene.stuck() {
            p.stack { "Where " (printable(stuck.process.unwrap_or("the guest"))) " stood (" (printable(stuck.state)) "), innermost first: "
                @for (index, function) in stuck.functions.iter().enumerate() {
                    @if index > 0 { " ← " }
                    code { (printable(function)) }
                }
            }
        }
    }
}

fn kernel_log(scene: &Scene) -> Markup {
    let lines: Vec<_> = scene.said.iter().filter(|heard| matches!(heard.said.what, What::Log(_))).collect();
    html! {
        @if !lines.is_empty() {
            details.log open[lines.len() <= super::scene::LINES_MAX] {
                summary { "Kernel log of this attempt" }
                pre { @for heard in lines {
                    span.sign[heard.sign] { (super::scene::words_of(&heard.said.what)) } "\n"
                } }
            }
        }
    }
}

/// The policies' texts, each once.
fn policy(cells: &[&Cell]) -> Markup {
    html! {
        @for (origin, text) in tell::policies(cells) {
            details { summary { "The policy: " code { (origin) } } pre { (words::lines(text)) } }
        }
    }
}
