//! resolv.conf(5), as far as a result can say it.

use std::net::IpAddr;

use crate::plan::{Dns, limits};

/// What the file says to a pod. Lines that mean something else, and what a result has no words for, are left out,
/// as resolvers do: a node's own file is not podwire's to correct.
pub fn resolver(text: &str) -> Dns {
    let mut dns = Dns::default();
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace();
        match words.next() {
            Some("nameserver") => {
                let server = words.next().and_then(|word| word.parse::<IpAddr>().ok());
                dns.nameservers.extend(server);
            }
            Some("domain") => dns.domain = words.next().map(str::to_owned),
            // The last one counts.
            Some("search") => dns.search = words.map(str::to_owned).collect(),
            Some("options") => dns.options.extend(words.map(str::to_owned)),
            _ => {}
        }
    }
    for list in [&mut dns.search, &mut dns.options] {
        list.truncate(limits::DNS_ENTRIES);
    }
    dns.nameservers.truncate(limits::DNS_ENTRIES);
    dns
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_read_as_resolvers_do() {
        let dns = resolver(
            "# comment\nnameserver 10.0.0.53\nnameserver fe80::1%eth0\nnameserver fd00::53\ndomain a.example\n\
             search x\nsearch b.example c.example\noptions ndots:5\noptions  rotate\nsortlist 10.0.0.0\n; other\n",
        );
        assert_eq!(
            dns.nameservers.iter().map(ToString::to_string).collect::<Vec<_>>(),
            ["10.0.0.53", "fd00::53"]
        );
        assert_eq!(
            (dns.domain.as_deref(), dns.search),
            (Some("a.example"), vec!["b.example".into(), "c.example".into()])
        );
        assert_eq!(dns.options, ["ndots:5", "rotate"]);
        assert_eq!(resolver(""), Dns::default());
    }

    #[test]
    fn a_long_file_ends_at_the_limits() {
        let text = (0..20).map(|i| format!("nameserver 10.0.0.{i}\noptions o{i}\n")).collect::<String>();
        let dns = resolver(&text);
        assert_eq!((dns.nameservers.len(), dns.options.len()), (limits::DNS_ENTRIES, limits::DNS_ENTRIES));
    }
}
