/* floor: the least kernel work that gives a pod a bridged veth, an address and a default route.
 *
 * Called like a CNI plugin: one process, no library but libc, no IPAM (the host part of the address is the
 * number at the end of CNI_CONTAINERID), no checks, no rollback. A bound to compare with, not one to run.
 *
 *   ADD  socket, open(netns), SIOCGIFINDEX(bridge)
 *        RTM_NEWLINK  veth: the host's end named, mastered and up, the peer named and born in the pod's netns
 *        setns, socket, SIOCGIFINDEX, one send of { RTM_NEWLINK up, RTM_NEWADDR, RTM_NEWROUTE default }
 *   DEL  RTM_DELLINK by name
 *
 * Its configuration: "bridge"; "base", the block of addresses, a /16; "base6", for a second address
 * (IFA_F_NODAD) and default route in the same send; "ip6":"none" for a pod without a link-local address.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <net/if.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

static char buf[4096];
static unsigned len, seq;

static struct nlmsghdr *msg(int type, int flags) {
    struct nlmsghdr *h = (void *)(buf + len);
    memset(h, 0, sizeof *h);
    h->nlmsg_type = (uint16_t)type;
    h->nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags);
    h->nlmsg_seq = ++seq;
    len += NLMSG_HDRLEN;
    return h;
}

static void *body(size_t n) {
    void *p = buf + len;
    memset(p, 0, n);
    len += NLMSG_ALIGN(n);
    return p;
}

static struct rtattr *attr(int type, const void *d, size_t n) {
    struct rtattr *a = (void *)(buf + len);
    a->rta_type = (uint16_t)type;
    a->rta_len = (uint16_t)RTA_LENGTH(n);
    if (n) memcpy(RTA_DATA(a), d, n);
    len += RTA_ALIGN(a->rta_len);
    return a;
}

static void nest_end(struct rtattr *a) { a->rta_len = (uint16_t)(buf + len - (char *)a); }
static void msg_end(struct nlmsghdr *h) { h->nlmsg_len = (uint32_t)(buf + len - (char *)h); }

/* Sends what is in buf, reads until the last message's acknowledgement: 0, or the first errno. */
static int talk(int s) {
    struct sockaddr_nl sa = {.nl_family = AF_NETLINK};
    char in[8192];
    int err = 0;
    if (sendto(s, buf, len, 0, (void *)&sa, sizeof sa) < 0) return errno;
    len = 0;
    for (;;) {
        ssize_t n = recv(s, in, sizeof in, 0);
        if (n < 0) return errno;
        for (struct nlmsghdr *h = (void *)in; NLMSG_OK(h, (unsigned)n); h = NLMSG_NEXT(h, n)) {
            if (h->nlmsg_type != NLMSG_ERROR) continue;
            int e = -((struct nlmsgerr *)NLMSG_DATA(h))->error;
            if (e && !err) err = e;
            if (h->nlmsg_seq == seq) return err;
        }
    }
}

static int nlsock(void) { return socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE); }

static int link_index(int s, const char *name) {
    struct ifreq r;
    memset(&r, 0, sizeof r);
    memcpy(r.ifr_name, name, strnlen(name, IFNAMSIZ - 1));
    return ioctl(s, SIOCGIFINDEX, &r) < 0 ? -1 : r.ifr_ifindex;
}

static int newlink(int s, int bridge, const char *host, const char *peer, int netns, const unsigned char *mac) {
    struct nlmsghdr *h = msg(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL | NLM_F_ACK);
    struct ifinfomsg *i = body(sizeof *i);
    i->ifi_flags = i->ifi_change = IFF_UP;
    attr(IFLA_IFNAME, host, strlen(host) + 1);
    attr(IFLA_MASTER, &bridge, 4);
    struct rtattr *info = attr(IFLA_LINKINFO, NULL, 0);
    attr(IFLA_INFO_KIND, "veth", 4);
    struct rtattr *data = attr(IFLA_INFO_DATA, NULL, 0);
    struct rtattr *other = attr(VETH_INFO_PEER, NULL, 0);
    body(sizeof(struct ifinfomsg));
    attr(IFLA_IFNAME, peer, strlen(peer) + 1);
    attr(IFLA_ADDRESS, mac, 6);
    attr(IFLA_NET_NS_FD, &netns, 4);
    nest_end(other);
    nest_end(data);
    nest_end(info);
    msg_end(h);
    return talk(s);
}

static struct ifinfomsg *link_change(uint32_t index, struct nlmsghdr **h) {
    *h = msg(RTM_NEWLINK, 0);
    struct ifinfomsg *i = body(sizeof *i);
    i->ifi_index = (int)index;
    return i;
}

static void no_link_local(uint32_t index) {
    struct nlmsghdr *h;
    link_change(index, &h);
    struct rtattr *families = attr(IFLA_AF_SPEC, NULL, 0), *ip6 = attr(AF_INET6, NULL, 0);
    attr(IFLA_INET6_ADDR_GEN_MODE, &(unsigned char){IN6_ADDR_GEN_MODE_NONE}, 1);
    nest_end(ip6);
    nest_end(families);
    msg_end(h);
}

static void up(uint32_t index) {
    struct nlmsghdr *h;
    struct ifinfomsg *i = link_change(index, &h);
    i->ifi_flags = i->ifi_change = IFF_UP;
    msg_end(h);
}

static void address(uint32_t index, unsigned char family, const void *a, size_t n, unsigned char plen, unsigned char flags) {
    struct nlmsghdr *h = msg(RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL);
    struct ifaddrmsg *m = body(sizeof *m);
    m->ifa_family = family;
    m->ifa_prefixlen = plen;
    m->ifa_flags = flags;
    m->ifa_index = index;
    attr(IFA_LOCAL, a, n);
    msg_end(h);
}

static void default_route(uint32_t index, unsigned char family, const void *gateway, size_t n, int flags) {
    struct nlmsghdr *h = msg(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL | flags);
    struct rtmsg *m = body(sizeof *m);
    m->rtm_family = family;
    m->rtm_table = RT_TABLE_MAIN;
    m->rtm_protocol = RTPROT_STATIC;
    m->rtm_type = RTN_UNICAST;
    attr(RTA_GATEWAY, gateway, n);
    attr(RTA_OIF, &index, 4);
    msg_end(h);
}

static int dellink(int s, const char *host) {
    struct nlmsghdr *h = msg(RTM_DELLINK, NLM_F_ACK);
    body(sizeof(struct ifinfomsg));
    attr(IFLA_IFNAME, host, strlen(host) + 1);
    msg_end(h);
    return talk(s);
}

static int field(const char *conf, const char *key, char *out, size_t max) {
    const char *p = strstr(conf, key);
    if (!p || !(p = strchr(p + strlen(key), '"'))) return 0;
    p++;
    size_t n = strcspn(p, "\"");
    if (n >= max) n = max - 1;
    memcpy(out, p, n);
    out[n] = 0;
    return 1;
}

static int fail(const char *what, int e) {
    printf("{\"cniVersion\":\"1.0.0\",\"code\":999,\"msg\":\"floor: %s: %s\"}\n", what, strerror(e));
    fflush(stdout);
    return 1;
}

int main(void) {
    static char conf[65536];
    size_t n = 0;
    ssize_t r;
    while (n < sizeof conf - 1 && (r = read(0, conf + n, sizeof conf - 1 - n)) > 0) n += (size_t)r;
    const char *cmd = getenv("CNI_COMMAND"), *id = getenv("CNI_CONTAINERID"), *ns = getenv("CNI_NETNS"),
               *ifname = getenv("CNI_IFNAME");
    if (!cmd || !id || !ns || !ifname) return 2;
    char bridge[32] = "", base[32] = "", base6[64] = "", ip6[8] = "", host[16];
    field(conf, "\"bridge\"", bridge, sizeof bridge);
    field(conf, "\"base\"", base, sizeof base);
    field(conf, "\"base6\"", base6, sizeof base6);
    field(conf, "\"ip6\"", ip6, sizeof ip6);
    size_t digits = strlen(id);
    while (digits && id[digits - 1] >= '0' && id[digits - 1] <= '9') digits--;
    unsigned number = (unsigned)atoi(id + digits);
    snprintf(host, sizeof host, "floor%u", number);
    int s = nlsock(), e;
    if (!strcmp(cmd, "DEL")) {
        e = dellink(s, host);
        return e && e != ENODEV ? fail("RTM_DELLINK", e) : 0;
    }
    if (strcmp(cmd, "ADD")) return 0;

    int netns = open(ns, O_RDONLY | O_CLOEXEC);
    if (netns < 0) return fail("CNI_NETNS", errno);
    int index = link_index(s, bridge);
    if (index < 0) return fail("bridge", errno);
    unsigned char mac[6] = {2, 0xaa, (unsigned char)(number >> 24), (unsigned char)(number >> 16), (unsigned char)(number >> 8), (unsigned char)number};
    if ((e = newlink(s, index, host, ifname, netns, mac))) return fail("RTM_NEWLINK", e);
    if (setns(netns, CLONE_NEWNET) < 0) return fail("setns", errno);
    int inside = nlsock(), pod = link_index(inside, ifname);
    if (pod < 0) return fail("the pod's interface", errno);

    uint32_t net = 0;
    inet_pton(AF_INET, base, &net);
    uint32_t a4 = htonl(ntohl(net) + 2 + number % 60000), g4 = htonl(ntohl(net) + 1), eth = (uint32_t)pod;
    unsigned char a6[16] = {0}, g6[16] = {0};
    if (!strcmp(ip6, "none")) no_link_local(eth);
    up(eth);
    address(eth, AF_INET, &a4, 4, 16, 0);
    if (base6[0]) {
        inet_pton(AF_INET6, base6, a6);
        memcpy(g6, a6, 16);
        g6[15] = 1;
        memcpy(a6 + 12, &(uint32_t){htonl(2 + number)}, 4);
        address(eth, AF_INET6, a6, 16, 64, IFA_F_NODAD);
        default_route(eth, AF_INET6, g6, 16, 0);
    }
    default_route(eth, AF_INET, &g4, 4, NLM_F_ACK);
    if ((e = talk(inside))) return fail("the pod's side", e);

    char t4[INET_ADDRSTRLEN], t6[INET6_ADDRSTRLEN] = "", second[128] = "";
    inet_ntop(AF_INET, &a4, t4, sizeof t4);
    if (base6[0]) {
        inet_ntop(AF_INET6, a6, t6, sizeof t6);
        snprintf(second, sizeof second, ",{\"address\":\"%s/64\",\"interface\":1}", t6);
    }
    int o = snprintf(buf, sizeof buf,
                     "{\"cniVersion\":\"1.0.0\",\"interfaces\":[{\"name\":\"%s\"},{\"name\":\"%s\",\"sandbox\":\"%s\"}],"
                     "\"ips\":[{\"address\":\"%s/16\",\"interface\":1}%s]}\n",
                     host, ifname, ns, t4, second);
    return write(1, buf, (size_t)o) == o ? 0 : 1;
}
