//! One node as a card: its head, its routes, its bridges with pods.

use super::super::{Bridge, Node, Pod};
use super::canvas::{Anchor, Canvas, Face};
use crate::plan::Role;

pub(super) const WIDTH: u32 = 286;
const HEAD: u32 = 46;
const PADDING: u32 = 12;
const LINE: u32 = 17;
const POD: u32 = 24;
const BRIDGE_HEAD: u32 = 26;
const GAP: u32 = 10;

/// More than these are counted.
const MOST_PODS: usize = 12;
const MOST_ROUTES: usize = 4;
const MOST_POOLS: usize = 4;
/// What a character takes at most, in tenths of a pixel: of plain words, bold ones, and of addresses.
const PLAIN: usize = 79;
const BOLD: usize = 92;
const MONO: usize = 67;
const LEAST_NAME: usize = 8;

const INK: &str = "#1d2733";
const FAINT: &str = "#5b6876";
const EDGE: &str = "#aebccb";

/// What is drawn of a node.
pub(super) struct Card {
    title: String,
    subtitle: String,
    tag: &'static str,
    colour: &'static str,
    routes: Vec<String>,
    boxes: Vec<Ground>,
}

/// A bridge, or blocks of which nothing more is known.
struct Ground {
    name: String,
    detail: String,
    pods: Vec<Pod>,
    more: usize,
}

impl Card {
    pub(super) fn of(node: &Node) -> Self {
        let (tag, colour) = match (node.is_here, node.role) {
            (true, _) => ("this node", "#12685a"),
            (false, Role::Router) => ("router", "#62498f"),
            (false, Role::Host) => ("", "#2b4a6d"),
        };
        Self {
            title: node.name.clone(),
            subtitle: node.addresses.join("  "),
            tag,
            colour,
            routes: limited(&node.routes, MOST_ROUTES, "routes"),
            boxes: node.bridges.iter().map(Ground::of).chain(Ground::pools(&node.pools)).collect(),
        }
    }

    /// In the place of nodes that are not drawn.
    pub(super) fn counting(more: usize) -> Self {
        let title = format!("… and {more} more nodes");
        let (routes, boxes) = (Vec::new(), Vec::new());
        Self { title, subtitle: String::new(), tag: "", colour: "#76838f", routes, boxes }
    }

    pub(super) fn height(&self) -> u32 {
        let routes = if self.routes.is_empty() { 0 } else { LINE * self.routes.len() as u32 + GAP };
        let boxes: u32 = self.boxes.iter().map(|ground| ground.height() + GAP).sum();
        let body = routes + boxes;
        HEAD + if body > 0 { body + GAP } else { 0 }
    }

    pub(super) fn draw(&self, canvas: &mut Canvas, x: u32, y: u32) {
        canvas.rect((x, y), (WIDTH, self.height()), 10, "#ffffff", Some(EDGE));
        canvas.rect((x, y), (WIDTH, HEAD), 10, self.colour, None);
        self.draw_head(canvas, x, y);
        let mut below = y + HEAD + GAP;
        for route in &self.routes {
            below += LINE;
            canvas.text((x + PADDING, below - 4), Face::Mono, FAINT, Anchor::Start, &cut(route, 38));
        }
        below += if self.routes.is_empty() { 0 } else { GAP };
        for ground in &self.boxes {
            ground.draw(canvas, x + PADDING, below);
            below += ground.height() + GAP;
        }
    }

    fn draw_head(&self, canvas: &mut Canvas, x: u32, y: u32) {
        // The lower corners belong to the card's middle, if it has any.
        if self.height() > HEAD {
            canvas.rect((x, y + HEAD - 12), (WIDTH, 12), 0, self.colour, None);
        }
        let room = fitting(WIDTH - 2 * PADDING - if self.tag.is_empty() { 0 } else { 70 }, "", BOLD);
        canvas.titled(&self.title, |canvas| {
            let middle = if self.subtitle.is_empty() { 29 } else { 20 };
            canvas.text(
                (x + PADDING, y + middle),
                Face::Bold,
                "#ffffff",
                Anchor::Start,
                &cut(&self.title, room),
            );
        });
        canvas.text((x + PADDING, y + 37), Face::Mono, "#dbe6f1", Anchor::Start, &cut(&self.subtitle, 38));
        canvas.text((x + WIDTH - PADDING, y + 20), Face::Small, "#ffffff", Anchor::End, self.tag);
    }
}

impl Ground {
    fn of(bridge: &Bridge) -> Self {
        let shown = bridge.pods.len().min(MOST_PODS);
        Self {
            name: bridge.name.clone(),
            detail: first_of(&bridge.addresses),
            pods: bridge.pods[..shown].to_vec(),
            more: bridge.pods.len() - shown,
        }
    }

    fn pools(pools: &[String]) -> Vec<Self> {
        let pools = limited(pools, MOST_POOLS, "blocks");
        let ground =
            |pool: &String| Self { name: "pods".to_owned(), detail: pool.clone(), pods: Vec::new(), more: 0 };
        pools.iter().map(ground).collect()
    }

    fn rows(&self) -> u32 {
        self.pods.len() as u32 + u32::from(self.more > 0)
    }

    fn height(&self) -> u32 {
        BRIDGE_HEAD + self.rows() * (POD + 4) + if self.rows() > 0 { 4 } else { 0 }
    }

    fn draw(&self, canvas: &mut Canvas, x: u32, y: u32) {
        const INNER: u32 = WIDTH - 2 * PADDING;
        canvas.rect((x, y), (INNER, self.height()), 8, "#e9eff6", Some(EDGE));
        let detail = cut(&self.detail, 26);
        let room = fitting(INNER - 30, &detail, BOLD);
        canvas.text((x + 10, y + 17), Face::Bold, INK, Anchor::Start, &cut(&self.name, room));
        canvas.text((x + INNER - 10, y + 17), Face::Mono, FAINT, Anchor::End, &detail);
        let mut below = y + BRIDGE_HEAD;
        for pod in &self.pods {
            draw_pod(canvas, pod, x + 6, below, INNER - 12);
            below += POD + 4;
        }
        if self.more > 0 {
            let words = format!("… and {} more", self.more);
            canvas.text((x + INNER / 2, below + 16), Face::Small, FAINT, Anchor::Middle, &words);
        }
    }
}

fn draw_pod(canvas: &mut Canvas, pod: &Pod, x: u32, y: u32, width: u32) {
    let all = [vec![pod.name.clone()], pod.addresses.clone()].concat().join("\n").replace('\n', " ");
    let address = cut(pod.address(), 24);
    let room = fitting(width - 26, &address, PLAIN);
    canvas.titled(&all, |canvas| {
        canvas.rect((x, y), (width, POD), 6, "#ffffff", Some(EDGE));
        canvas.text((x + 8, y + 16), Face::Plain, INK, Anchor::Start, &cut(&pod.name, room));
        canvas.text((x + width - 8, y + 16), Face::Mono, FAINT, Anchor::End, &address);
    });
}

fn limited(lines: &[String], most: usize, what: &str) -> Vec<String> {
    let shown = lines.len().min(most);
    let more = lines.len() - shown;
    let count = (more > 0).then(|| format!("… and {more} more {what}"));
    lines[..shown].iter().cloned().chain(count).collect()
}

/// The first one, and how many more there are.
fn first_of(addresses: &[String]) -> String {
    match addresses {
        [] => String::new(),
        [one] => one.clone(),
        [first, more @ ..] => format!("{first} +{}", more.len()),
    }
}

/// How many characters of a name fit into what an address leaves of a width.
fn fitting(width: u32, address: &str, each: usize) -> usize {
    ((10 * width as usize).saturating_sub(MONO * address.chars().count()) / each).max(LEAST_NAME)
}

/// The end of a name tells it from its neighbours more often than its middle.
fn cut(text: &str, most: usize) -> String {
    let length = text.chars().count();
    if length <= most {
        return text.to_owned();
    }
    let tail = (most - 1) / 2;
    let head = most - 1 - tail;
    text.chars().take(head).chain(['…']).chain(text.chars().skip(length - tail)).collect()
}
