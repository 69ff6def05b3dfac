// Pods of some namespaces get their addresses from the upper half of the node's pool, all others from the
// lower half: a firewall can then tell them apart by one block.

#include <string.h>

#include "bindings/policy.h"
#include "config.h"

typedef podwire_policy_types_ip_address_t address;
typedef podwire_policy_types_ip_prefix_t prefix;

#define IPV4(a, b, c, d) \
  { .tag = PODWIRE_POLICY_TYPES_IP_ADDRESS_IPV4, .val.ipv4 = {a, b, c, d} }

// The node answers for it: pods are wired point to point.
static const address gateway = IPV4(169, 254, 1, 1);

static uint32_t to_number(address a) {
  return (uint32_t)a.val.ipv4.f0 << 24 | a.val.ipv4.f1 << 16 | a.val.ipv4.f2 << 8 | a.val.ipv4.f3;
}

static address to_address(uint32_t number) {
  return (address)IPV4(number >> 24, number >> 16 & 255, number >> 8 & 255, number & 255);
}

static bool refuse(policy_refusal_t *refusal, uint8_t reason, const char *message) {
  refusal->reason = reason;
  refusal->message = (policy_string_t){(uint8_t *)strdup(message), strlen(message)};
  return false;
}

static char *put_text(char *to, const char *text) { return (char *)memcpy(to, text, strlen(text)) + strlen(text); }

static char *put_number(char *to, uint8_t number) {
  if (number >= 100) *to++ = '0' + number / 100;
  if (number >= 10) *to++ = '0' + number / 10 % 10;
  *to++ = '0' + number % 10;
  return to;
}

static bool refuse_full(policy_refusal_t *refusal, const prefix *half) {
  const uint8_t *octets = &half->address.val.ipv4.f0;
  char message[80], *end = put_text(message, "no address is left in ");
  for (size_t i = 0; i < 4; i++) {
    end = put_number(end, octets[i]);
    *end++ = i < 3 ? '.' : '/';
  }
  *put_text(put_number(end, half->length), ": delete pods") = 0;
  return refuse(refusal, PODWIRE_POLICY_TYPES_REFUSAL_REASON_EXHAUSTED, message);
}

struct search {
  policy_string_t wanted;
  bool found;
};

static void compare(void *argument, const char *name, size_t length) {
  struct search *search = argument;
  if (length == search->wanted.len && !memcmp(name, search->wanted.ptr, length)) search->found = true;
}

// Whether the namespace is one of `upper`.
static bool read_config(policy_string_t config, struct search *search, policy_refusal_t *refusal) {
  if (config_read((char *)config.ptr, config.len, compare, search)) return true;
  return refuse(refusal, PODWIRE_POLICY_TYPES_REFUSAL_REASON_INVALID_CONFIG,
                "config needs \"upper\", a list of namespaces, and nothing else");
}

// The half of the first pool that is large enough.
static bool find_half(podwire_policy_types_node_t *node, bool is_upper, prefix *half) {
  for (size_t i = 0; i < node->pools.len; i++) {
    prefix pool = node->pools.ptr[i];
    if (pool.address.tag != PODWIRE_POLICY_TYPES_IP_ADDRESS_IPV4 || pool.length > 29) continue;
    uint32_t first = to_number(pool.address) + (is_upper ? 1u << (31 - pool.length) : 0);
    *half = (prefix){.address = to_address(first), .length = pool.length + 1};
    return true;
  }
  return false;
}

// Going round, so that an address that was given back rests as long as possible.
static bool next_free(prefix *half, address *free) {
  address last, start;
  bool known = podwire_policy_leases_last_taken(half, &last);
  if (known) start = to_address(to_number(last) + 1);
  return podwire_policy_leases_first_free(half, known ? &start : NULL, free);
}

static void routed(address pods, policy_add_plan_t *plan) {
  static podwire_policy_types_address_t own;
  static podwire_policy_types_route_t anywhere = {.destination.address = IPV4(0, 0, 0, 0)};
  own.prefix = (prefix){.address = pods, .length = 32};
  own.gateway = (podwire_policy_types_option_ip_address_t){.is_some = true, .val = gateway};
  anywhere.via = own.gateway;
  *plan = (policy_add_plan_t){
      .wiring.tag = PODWIRE_POLICY_TYPES_WIRING_ROUTED,
      .addresses = {.ptr = &own, .len = 1},
      .routes = {.ptr = &anywhere, .len = 1},
  };
}

bool exports_policy_check_config(policy_string_t *config, policy_refusal_t *refusal) {
  struct search nothing = {0};
  return read_config(*config, &nothing, refusal);
}

bool exports_policy_add(policy_add_request_t *request, policy_add_plan_t *plan, policy_refusal_t *refusal) {
  struct search search = {0};
  if (request->pod.is_some) search.wanted = request->pod.val.namespace_;
  if (!read_config(request->config, &search, refusal)) return false;
  prefix half;
  if (!find_half(&request->node, search.found, &half)) {
    return refuse(refusal, PODWIRE_POLICY_TYPES_REFUSAL_REASON_INVALID_CONFIG,
                  "give the node an IPv4 pool that is a /29 or larger");
  }
  address free;
  if (!next_free(&half, &free)) return refuse_full(refusal, &half);
  routed(free, plan);
  return true;
}

// Addresses that a DEL gave back are free at once.
void exports_policy_del(policy_del_request_t *request, policy_release_t *release) {
  (void)request;
  release->tag = PODWIRE_POLICY_TYPES_RELEASE_NOW;
}

// The node itself needs nothing.
bool exports_policy_node(policy_node_request_t *request, policy_node_plan_t *plan, policy_refusal_t *refusal) {
  (void)request, (void)refusal;
  *plan = (policy_node_plan_t){0};
  return true;
}
