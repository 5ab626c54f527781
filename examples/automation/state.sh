#!/bin/sh
# The state of a device's tunnel with nothing but ssh; whatever else is given goes to ssh.
#
#   examples/automation/state.sh -p 830 admin@192.0.2.1
#
# NETCONF 1.0: each message ends with ]]>]]> (RFC 6242, section 4.3). No capability of the base protocol 1.1 is offered, so the
# device does the same. The second message of the output is the answer. The exit status is that of ssh, or 1 if the answer is no
# state: a refusal, or nothing of it for a user who may not read it.
set -eu

end=']]>]]>'
netconf=urn:ietf:params:xml:ns:netconf:base:1.0

answer=$({
    printf '<hello xmlns="%s"><capabilities><capability>%s</capability></capabilities></hello>%s' \
        "$netconf" urn:ietf:params:netconf:base:1.0 "$end"
    printf '<rpc message-id="1" xmlns="%s"><get><filter><cloud-management xmlns="%s"><state/></cloud-management></filter></get></rpc>%s' \
        "$netconf" urn:tether:yang:cloud-management "$end"
    printf '<rpc message-id="2" xmlns="%s"><close-session/></rpc>%s' "$netconf" "$end"
} | ssh -s "$@" netconf)
printf '%s\n' "$answer"

case $answer in
*'<connection-state>'*) ;;
*)
    echo "state.sh: the device does not show the state of its tunnel" >&2
    exit 1
    ;;
esac
