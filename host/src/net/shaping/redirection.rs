//! The way of what arrives at an interface through an ifb: a filter that takes everything, and an action that
//! hands it on.

use netlink_packet_core::{DecodeError, NLM_F_CREATE, NLM_F_EXCL, NlasIterator, parse_u32};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{InfoKind, LinkAttribute, LinkInfo, LinkMessage};
use netlink_packet_route::tc::{
    TcAction, TcActionAttribute, TcActionMirror, TcActionMirrorOption, TcActionOption, TcActionType,
    TcAttribute, TcFilterU32, TcFilterU32Option, TcHandle, TcMessage, TcMirror, TcMirrorActionType, TcOption,
    TcU32Key, TcU32Selector, TcU32SelectorFlags,
};
use rustix::io::Errno;

use crate::names::InterfaceName;
use crate::plan::marks::GROUP;

use super::super::Error;
use super::super::frame::attribute;
use super::super::link::Interface;
use super::super::socket::{Request, Socket};

/// Where an interface's filters for what arrives are: `ffff:`, by custom.
const ARRIVAL: TcHandle = TcHandle { major: 0xffff, minor: 0 };

/// The filter is the first, and asked about every protocol (`ETH_P_ALL`, in network order).
const FIRST_FOR_ALL: u32 = 1 << 16 | (3u16.to_be() as u32);

/// Makes an ifb. It is down.
pub(super) fn create_ifb(name: &InterfaceName, mtu: u32) -> Request {
    let mut message = LinkMessage::default();
    message.attributes = vec![
        LinkAttribute::IfName(name.to_string()),
        LinkAttribute::Mtu(mtu),
        LinkAttribute::NumTxQueues(1),
        LinkAttribute::NumRxQueues(1),
        LinkAttribute::Group(GROUP),
        LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Ifb)]),
    ];
    let step = format!("create ifb {name} (kernel option CONFIG_IFB)");
    Request::new(RouteNetlinkMessage::NewLink(message), NLM_F_CREATE | NLM_F_EXCL, step)
}

/// Redirects all that arrives at an interface.
pub(super) fn requests(from: Interface<'_>, to: Interface<'_>) -> [Request; 2] {
    let mut place = TcMessage::with_index(from.index.cast_signed());
    (place.header.parent, place.header.handle) = (TcHandle::INGRESS, ARRIVAL);
    place.attributes = vec![TcAttribute::Kind("ingress".to_owned())];
    let step =
        format!("take filters for what arrives at {} (kernel option CONFIG_NET_SCH_INGRESS)", from.name);
    let place = Request::new(RouteNetlinkMessage::NewQueueDiscipline(place), NLM_F_CREATE | NLM_F_EXCL, step);

    let mut filter = filters_of(from);
    filter.header.info = FIRST_FOR_ALL;
    let options = vec![
        TcOption::U32(TcFilterU32Option::Selector(everything())),
        TcOption::U32(TcFilterU32Option::Action(vec![redirect(to)])),
    ];
    filter.attributes = vec![TcAttribute::Kind(TcFilterU32::KIND.to_owned()), TcAttribute::Options(options)];
    let step = format!(
        "redirect what arrives at {} to {} (kernel options CONFIG_NET_CLS_U32 and CONFIG_NET_ACT_MIRRED)",
        from.name, to.name
    );
    let flags = NLM_F_CREATE | NLM_F_EXCL;
    [place, Request::new(RouteNetlinkMessage::NewTrafficFilter(filter), flags, step)]
}

fn filters_of(interface: Interface<'_>) -> TcMessage {
    let mut message = TcMessage::with_index(interface.index.cast_signed());
    message.header.parent = ARRIVAL;
    message
}

/// Every packet has the value 0 under a mask of 0.
fn everything() -> TcU32Selector {
    let mut selector = TcU32Selector::default();
    selector.flags = TcU32SelectorFlags::Terminal;
    selector.nkeys = 1;
    selector.keys = vec![TcU32Key::default()];
    selector
}

fn redirect(to: Interface<'_>) -> TcAction {
    let mut mirror = TcMirror::default();
    mirror.generic.action = TcActionType::Stolen;
    (mirror.eaction, mirror.ifindex) = (TcMirrorActionType::EgressRedir, to.index);
    let mut action = TcAction::default();
    action.attributes = vec![
        TcActionAttribute::Kind(TcActionMirror::KIND.to_owned()),
        TcActionAttribute::Options(vec![TcActionOption::Mirror(TcActionMirrorOption::Parms(mirror))]),
    ];
    action
}

/// Whether all that arrives at an interface is redirected.
pub(super) fn is_there(socket: &mut Socket, from: Interface<'_>, to: Interface<'_>) -> Result<bool, Error> {
    let question = RouteNetlinkMessage::GetTrafficFilter(filters_of(from));
    let decode = |body: &[u8]| Ok(redirects_all(body)?.filter(|index| *index == to.index));
    match socket.dump(&question, "filters", decode) {
        Err(Error::Refused(refused)) if refused.errno == Errno::INVAL => Ok(false),
        found => Ok(!found?.is_empty()),
    }
}

/// The length of struct tcmsg.
const TC_HEADER: usize = 20;
const TCA_OPTIONS: u16 = 2;
const TCA_U32_SEL: u16 = 5;
const TCA_U32_ACT: u16 = 7;
const TCA_ACT_OPTIONS: u16 = 2;
const TCA_MIRRED_PARMS: u16 = 2;
/// The lengths of struct tc_u32_sel without its keys, and of a key, which begins with its mask.
const SELECTOR: usize = 16;
const KEY: usize = 16;
/// Where struct tc_mirred has what is done, and with which interface.
const MIRRED_ACTION: usize = 20;
const MIRRED_INDEX: usize = 24;
const TCA_EGRESS_REDIR: u32 = 1;

/// The index of the interface to which a filter redirects everything.
fn redirects_all(body: &[u8]) -> Result<Option<u32>, DecodeError> {
    let attributes = body.get(TC_HEADER..).unwrap_or_default();
    let Some(options) = attribute(attributes, TCA_OPTIONS)? else { return Ok(None) };
    let selector = attribute(options.value(), TCA_U32_SEL)?;
    let all = selector.is_some_and(|selector| takes_all(selector.value()));
    let Some(actions) = attribute(options.value(), TCA_U32_ACT)?.filter(|_| all) else { return Ok(None) };
    let Some(first) = NlasIterator::new(actions.value()).next().transpose()? else { return Ok(None) };
    let Some(options) = attribute(first.value(), TCA_ACT_OPTIONS)? else { return Ok(None) };
    let Some(mirred) = attribute(options.value(), TCA_MIRRED_PARMS)? else { return Ok(None) };
    let field = |at: usize| parse_u32(mirred.value().get(at..at + 4).unwrap_or_default());
    Ok((field(MIRRED_ACTION)? == TCA_EGRESS_REDIR).then_some(field(MIRRED_INDEX)?))
}

fn takes_all(selector: &[u8]) -> bool {
    let keys = selector.get(SELECTOR..).unwrap_or_default();
    !keys.is_empty() && keys.chunks(KEY).all(|key| key.get(..4) == Some(&[0; 4]))
}
