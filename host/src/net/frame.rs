//! Netlink's framing: messages into a buffer, messages out of a datagram, and what an acknowledgement says.

use std::iter::from_fn;

use netlink_packet_core::{
    DecodeError, Emitable, NLM_F_ACK_TLVS, NLM_F_CAPPED, NLMSG_DONE, NLMSG_ERROR, NetlinkBuffer,
    NetlinkHeader, NetlinkSerializable, NlaBuffer, NlasIterator, parse_i32, parse_string,
};
use rustix::io::Errno;

use super::Refused;

/// The netlink header's length (`NLMSG_HDRLEN`).
const HEADER: usize = 16;

/// `NLMSGERR_ATTR_MSG`: the extended acknowledgement's text.
const EXTENDED_ACK_TEXT: u16 = 1;

/// One message of an answer.
pub(super) struct Frame<'a> {
    pub(super) kind: u16,
    pub(super) flags: u16,
    pub(super) sequence: u32,
    pub(super) body: &'a [u8],
}

impl Frame<'_> {
    /// Whether it ends an answer, and so carries an error number.
    pub(super) fn is_last(&self) -> bool {
        matches!(self.kind, NLMSG_ERROR | NLMSG_DONE)
    }

    /// The error number of such a frame, unless that is 0.
    pub(super) fn errno(&self) -> Option<Errno> {
        let code = self.body.get(..4).and_then(|code| parse_i32(code).ok())?;
        (-4095..0).contains(&code).then(|| Errno::from_raw_os_error(-code))
    }

    /// What the operator reads of it.
    pub(super) fn refusal(&self, position: usize, step: &str, errno: Errno) -> Refused {
        Refused { position, step: step.to_owned(), errno, reason: self.reason() }
    }

    /// The text after the error number, and in an NLMSG_ERROR after the request's header or the request.
    fn reason(&self) -> Option<String> {
        if self.flags & NLM_F_ACK_TLVS == 0 {
            return None;
        }
        let request = match self.kind {
            NLMSG_ERROR if self.flags & NLM_F_CAPPED != 0 => HEADER,
            NLMSG_ERROR => NetlinkBuffer::new_checked(self.body.get(4..)?).ok()?.length() as usize,
            _ => 0,
        };
        let mut attributes = NlasIterator::new(self.body.get(4 + request..)?).map_while(Result::ok);
        let text = attributes.find(|attribute| attribute.kind() == EXTENDED_ACK_TEXT)?;
        parse_string(text.value()).ok()
    }
}

/// The messages of a datagram; what is cut off at its end is none.
pub(super) fn frames(mut datagram: &[u8]) -> impl Iterator<Item = Frame<'_>> {
    from_fn(move || {
        let buffer = NetlinkBuffer::new_checked(datagram).ok()?;
        let length = buffer.length() as usize;
        let frame = Frame {
            kind: buffer.message_type(),
            flags: buffer.flags(),
            sequence: buffer.sequence_number(),
            body: &datagram[HEADER..length],
        };
        datagram = &datagram[length.next_multiple_of(4).min(datagram.len())..];
        Some(frame)
    })
}

/// The first attribute of that kind, if there is one.
pub(super) fn attribute(attributes: &[u8], kind: u16) -> Result<Option<NlaBuffer<&[u8]>>, DecodeError> {
    for attribute in NlasIterator::new(attributes) {
        let attribute = attribute?;
        if attribute.kind() == kind {
            return Ok(Some(attribute));
        }
    }
    Ok(None)
}

/// Writes a message behind those that are there, aligned as the next needs it.
pub(super) fn append(bytes: &mut Vec<u8>, message: &impl NetlinkSerializable, flags: u16, sequence: u32) {
    let start = bytes.len();
    let length = HEADER + message.buffer_len();
    bytes.resize(start + length.next_multiple_of(4), 0);
    let mut header = NetlinkHeader::default();
    header.length = length as u32;
    header.message_type = message.message_type();
    header.flags = flags;
    header.sequence_number = sequence;
    header.emit(&mut bytes[start..start + HEADER]);
    message.serialize(&mut bytes[start + HEADER..start + length]);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An NLMSG_ERROR as the kernel writes it: code, the request's header, the text.
    fn refusal(code: i32, flags: u16, text: &str) -> Vec<u8> {
        let mut bytes = Vec::new();
        let value = [text.as_bytes(), &[0]].concat();
        let length = HEADER + 4 + HEADER + 4 + value.len();
        bytes.extend((length as u32).to_ne_bytes());
        bytes.extend(NLMSG_ERROR.to_ne_bytes());
        bytes.extend(flags.to_ne_bytes());
        bytes.extend(7u32.to_ne_bytes());
        bytes.extend(0u32.to_ne_bytes());
        bytes.extend(code.to_ne_bytes());
        bytes.extend([0; HEADER]);
        bytes.extend((4 + value.len() as u16).to_ne_bytes());
        bytes.extend(EXTENDED_ACK_TEXT.to_ne_bytes());
        bytes.extend(value);
        bytes.resize(length.next_multiple_of(4), 0);
        bytes
    }

    #[test]
    fn refusals_are_matched_and_read() {
        let mut datagram = refusal(-17, NLM_F_CAPPED | NLM_F_ACK_TLVS, "it is there");
        datagram.extend(refusal(0, NLM_F_CAPPED, ""));
        let found: Vec<_> = frames(&datagram).collect();
        assert_eq!(found.len(), 2);
        assert_eq!((found[0].sequence, found[0].errno()), (7, Some(Errno::EXIST)));
        assert_eq!(found[0].reason().as_deref(), Some("it is there"));
        assert_eq!((found[1].errno(), found[1].reason()), (None, None));
    }

    #[test]
    fn what_is_cut_off_is_no_frame() {
        let datagram = refusal(-1, 0, "x");
        for end in 0..datagram.len() - 4 {
            assert_eq!(frames(&datagram[..end]).count(), 0, "{end}");
        }
    }

    #[test]
    fn refusals_read_as_sentences() {
        let refused = Refused {
            position: 0,
            step: "add address 10.244.1.2/24 to eth0".to_owned(),
            errno: Errno::PERM,
            reason: Some("why".to_owned()),
        };
        let text = refused.to_string();
        assert!(text.starts_with("the kernel refused to add address 10.244.1.2/24 to eth0: "), "{text}");
        assert!(text.contains("(why)") && text.ends_with("needs CAP_NET_ADMIN in this network namespace"));
    }
}
