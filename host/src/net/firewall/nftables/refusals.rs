//! Chains that refuse whatever comes as far as some rule of theirs, though their policy may be to accept: what
//! firewall managers end a chain with. And chains that keep a port of the node's own closed.

use super::super::super::Error;
use super::super::super::netfilter::{attribute, children, nested, number, text};
use super::super::super::socket::Socket;
use super::super::{DroppingChain, Place};
use super::{
    Base, Effect, Errno, GENERIC_HEADER, HOOK_FORWARD, IpNet, NF_ACCEPT, NF_DROP, NFT_MSG_GETCHAIN,
    NFT_MSG_GETRULE, NFTA_CHAIN_HOOK, NFTA_CHAIN_NAME, NFTA_CHAIN_POLICY, NFTA_CHAIN_TABLE, NFTA_CMP_DATA,
    NFTA_DATA_VALUE, NFTA_DATA_VERDICT, NFTA_EXPR_DATA, NFTA_EXPR_NAME, NFTA_HOOK_HOOKNUM,
    NFTA_IMMEDIATE_DATA, NFTA_MATCH_NAME, NFTA_PAYLOAD_BASE, NFTA_PAYLOAD_OFFSET, NFTA_RULE_CHAIN,
    NFTA_RULE_EXPRESSIONS, NFTA_RULE_TABLE, NFTA_VERDICT_CODE, Rule, question,
};

/// `NF_INET_LOCAL_IN`.
const HOOK_INPUT: u32 = 1;
const NFPROTO_INET: u8 = 1;
const NFPROTO_IPV4: u8 = 2;
const NFPROTO_IPV6: u8 = 10;
const NFTA_TARGET_NAME: u16 = 1;
const NFTA_MATCH_INFO: u16 = 3;
const NFT_PAYLOAD_TRANSPORT_HEADER: u32 = 2;
/// Of a UDP header.
const DESTINATION_PORT: u32 = 2;

/// Those at the forward hook with such a rule, whatever their policy.
pub(in super::super) fn forward() -> Result<Vec<DroppingChain>, Error> {
    let refusing = |chain: &Chain| chain.accepted_before_refusal();
    let chains = at(HOOK_FORWARD)?;
    Ok(chains.iter().filter_map(|chain| Some(chain.named("a rule of ", refusing(chain)?))).collect())
}

/// Those at the input hook that drop by their policy or by such a rule, and accept no datagrams to the port.
pub(in super::super) fn input(port: u16) -> Result<Vec<DroppingChain>, Error> {
    let closed = |chain: &&Chain| {
        let drops = chain.drops || chain.accepted_before_refusal().is_some();
        drops && !chain.rules.iter().any(|rule| rule.accepts_port(port))
    };
    Ok(at(HOOK_INPUT)?.iter().filter(closed).map(|chain| chain.named("", Vec::new())).collect())
}

/// A base chain, with the rules of its table.
struct Chain {
    base: Base,
    drops: bool,
    rules: Vec<Ruled>,
}

/// A rule, in the order of its chain.
struct Ruled {
    chain: String,
    effect: Effect,
    expressions: Vec<u8>,
}

fn at(hook: u32) -> Result<Vec<Chain>, Error> {
    let mut socket = match Socket::netfilter() {
        Err(Error::Socket { errno: Errno::PROTONOSUPPORT, .. }) => return Ok(Vec::new()),
        socket => socket?,
    };
    let question = question(NFT_MSG_GETCHAIN, 0, None);
    let found = match socket.dump(&question, "nftables chains", |body| Ok(decode(body, hook))) {
        Err(Error::Refused(refused)) if refused.errno == Errno::INVAL => return Ok(Vec::new()),
        found => found?,
    };
    found.into_iter().map(|(base, drops)| Chain::read(&mut socket, base, drops)).collect()
}

fn decode(body: &[u8], hook: u32) -> Option<(Base, bool)> {
    let (family, attributes) = (*body.first()?, body.get(GENERIC_HEADER..)?);
    let found = number(attribute(attributes, NFTA_CHAIN_HOOK)?, NFTA_HOOK_HOOKNUM)?;
    if found != hook || ![NFPROTO_INET, NFPROTO_IPV4, NFPROTO_IPV6].contains(&family) {
        return None;
    }
    let (table, chain) = (text(attributes, NFTA_CHAIN_TABLE)?, text(attributes, NFTA_CHAIN_NAME)?);
    Some((Base { family, table, chain }, number(attributes, NFTA_CHAIN_POLICY) == Some(NF_DROP)))
}

impl Chain {
    fn read(socket: &mut Socket, base: Base, drops: bool) -> Result<Self, Error> {
        let question = question(NFT_MSG_GETRULE, base.family, Some(&base.table));
        let rules = socket.dump(&question, "nftables rules", |body| Ok(Ruled::decode(body, &base.table)))?;
        Ok(Self { base, drops, rules })
    }

    /// What goes through before everything is refused; none if nothing is.
    fn accepted_before_refusal(&self) -> Option<Vec<IpNet>> {
        let own: Vec<&Ruled> = self.rules.iter().filter(|rule| rule.chain == self.base.chain).collect();
        let refusal = own.iter().position(|rule| rule.refuses_everything())?;
        let accepted = own[..refusal].iter().flat_map(|rule| match &rule.effect {
            Effect::Jump(to) => self.rules.iter().filter(|rule| rule.chain == *to).collect(),
            _ => vec![*rule],
        });
        Some(accepted.flat_map(|rule| rule.accepted()).copied().collect())
    }

    fn named(&self, what: &str, accepted: Vec<IpNet>) -> DroppingChain {
        let docker = Effect::Jump("DOCKER-USER".to_owned());
        let docker = self.rules.iter().any(|rule| rule.chain == self.base.chain && rule.effect == docker);
        let place = match self.base.table.as_str() {
            "filter" if self.base.chain == "INPUT" && self.base.family != NFPROTO_INET => {
                Place::Iptables { legacy: false, chain: "INPUT".to_owned() }
            }
            _ => self.base.place(docker),
        };
        DroppingChain {
            name: format!("{what}{}", self.base.name()),
            families: self.base.families(),
            accepted,
            place,
        }
    }
}

impl Ruled {
    fn decode(body: &[u8], table: &str) -> Option<Self> {
        let attributes = body.get(GENERIC_HEADER..)?;
        if text(attributes, NFTA_RULE_TABLE)? != table {
            return None;
        }
        let Rule { effect, .. } = Rule::decode(body, table)?;
        let expressions = attribute(attributes, NFTA_RULE_EXPRESSIONS).unwrap_or_default().to_vec();
        Some(Self { chain: text(attributes, NFTA_RULE_CHAIN)?, effect, expressions })
    }

    fn accepted(&self) -> &[IpNet] {
        match &self.effect {
            Effect::Accept(sources) => sources,
            _ => &[],
        }
    }

    /// Names and data of what is neither a counter nor a comment.
    fn conditions_and_verdict(&self) -> impl Iterator<Item = (String, &[u8])> {
        let all = children(&self.expressions).filter_map(|(_, expression)| {
            let data = attribute(expression, NFTA_EXPR_DATA).unwrap_or_default();
            Some((text(expression, NFTA_EXPR_NAME)?, data))
        });
        all.filter(|(name, data)| {
            let comment = || text(data, NFTA_MATCH_NAME).as_deref() == Some("comment");
            name != "counter" && !(name == "match" && comment())
        })
    }

    fn refuses_everything(&self) -> bool {
        let mut said = self.conditions_and_verdict();
        let refuses = said.next().is_some_and(|(name, data)| match name.as_str() {
            "reject" => true,
            "immediate" => verdict(data) == Some(NF_DROP),
            "target" => text(data, NFTA_TARGET_NAME).is_some_and(|name| ["REJECT", "DROP"].contains(&&*name)),
            _ => false,
        });
        refuses && said.next().is_none()
    }

    /// Whether it accepts datagrams to the port, perhaps under more conditions.
    fn accepts_port(&self, port: u16) -> bool {
        let said: Vec<_> = self.conditions_and_verdict().collect();
        let accepts = said.last().is_some_and(|(_, data)| verdict(data) == Some(NF_ACCEPT));
        let named = |pair: &[(String, &[u8])]| {
            is_destination_port(&pair[0]) && pair[1].0 == "cmp" && compared(pair[1].1) == Some(port)
        };
        accepts && (said.len() == 1 || said.windows(2).any(named) || said.iter().any(|it| matches(it, port)))
    }
}

fn verdict(data: &[u8]) -> Option<u32> {
    number(nested(data, &[NFTA_IMMEDIATE_DATA, NFTA_DATA_VERDICT])?, NFTA_VERDICT_CODE)
}

fn is_destination_port((name, data): &(String, &[u8])) -> bool {
    name == "payload"
        && number(data, NFTA_PAYLOAD_BASE) == Some(NFT_PAYLOAD_TRANSPORT_HEADER)
        && number(data, NFTA_PAYLOAD_OFFSET) == Some(DESTINATION_PORT)
}

fn compared(data: &[u8]) -> Option<u16> {
    nested(data, &[NFTA_CMP_DATA, NFTA_DATA_VALUE])?.try_into().ok().map(u16::from_be_bytes)
}

/// What iptables' own module for UDP has: first and last source port, first and last destination port
/// (struct `xt_udp` of linux/netfilter/xt_tcpudp.h).
fn matches((name, data): &(String, &[u8]), port: u16) -> bool {
    let is_udp = name == "match" && text(data, NFTA_MATCH_NAME).as_deref() == Some("udp");
    let ports = attribute(data, NFTA_MATCH_INFO).and_then(|info| info.get(4..8)).filter(|_| is_udp);
    ports.is_some_and(|ports| {
        let number = |at: usize| u16::from_ne_bytes([ports[at], ports[at + 1]]);
        (number(0)..=number(2)).contains(&port)
    })
}
