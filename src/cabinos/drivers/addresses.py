"""Which network addresses are public: reachable by everybody, and no way into somebody's own house.

A page fetched for a model may be chosen by an attacker, and from where Cabin runs, routers,
printers, databases and the metadata services of clouds answer to whoever asks. So an address is
fetched from only if it is public by the registries of special-purpose addresses
(https://www.iana.org/assignments/iana-ipv4-special-registry and iana-ipv6-special-registry).
The table is here, because Python's `is_global` differs between its patch releases.
"""

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

__all__ = ["is_public"]

SPECIAL_V4 = tuple(
    ip_network(network)
    for network in (
        "0.0.0.0/8",  # this network
        "10.0.0.0/8",  # private
        "100.64.0.0/10",  # carrier-grade NAT, and a cloud's metadata
        "127.0.0.0/8",  # this machine
        "168.63.129.16/32",  # a cloud's own services, at an address that looks public
        "169.254.0.0/16",  # link-local, and most clouds' metadata
        "172.16.0.0/12",  # private
        "192.0.0.0/24",  # protocol assignments
        "192.0.2.0/24",  # documentation
        "192.31.196.0/24",  # AS112
        "192.52.193.0/24",  # AMT
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",  # private
        "192.175.48.0/24",  # AS112
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, broadcast
    )
)
GLOBAL_V6 = ip_network("2000::/3")  # all else is loopback, local, multicast or not assigned
SPECIAL_V6 = tuple(
    ip_network(network)
    for network in (
        "2001::/23",  # protocol assignments: Teredo, ORCHID, benchmarks
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4: holds any IPv4 address
        "3fff::/20",  # documentation
    )
)
NAT64 = ip_network("64:ff9b::/96")  # holds an IPv4 address


def is_public(text: str) -> bool:
    """Whether the address is public. What is no address is not."""
    try:
        address = ip_address(text)
    except ValueError:
        return False
    if isinstance(address, IPv6Address):
        inner = address.ipv4_mapped
        if address in NAT64:
            inner = IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is None:
            return address in GLOBAL_V6 and not any(address in special for special in SPECIAL_V6)
        address = inner
    return not any(address in special for special in SPECIAL_V4)
