/* SPDX-License-Identifier: Apache-2.0 */
/* The networks of one broker: the limits that bind them together, and who has how many links, so
 * that newcomers are spread. Joining and leaving happen while no other member runs; everything else
 * may be called from any thread. */
#ifndef BOURSE_NET_NETWORK_GROUP_H
#define BOURSE_NET_NETWORK_GROUP_H

#include "net/network.h"

struct network_group;
struct strangers;

/* Of `settings` only the limits on links that are not established matter. */
struct network_group *network_group_new(const struct network_settings *settings);

/* Every member has left. */
void network_group_free(struct network_group **group);

/* Returns the member's number. At most NET_NETWORKS_MAX join, and nobody after one has left. */
uint32_t network_group_join(struct network_group *group, struct network *network);
void network_group_leave(struct network_group *group);

struct strangers *network_group_strangers(const struct network_group *group);

/* The member with the fewest links; `asking` if it is one of them. */
struct network *network_group_emptiest(const struct network_group *group, struct network *asking);

/* Room for contents. Members count the octets of all chunks that they ever opened, and begin no
 * further content once that is as much as the core allows; what is under way goes on. Any number
 * to begin with. */
void network_group_note_opened(struct network_group *group, uint64_t octets);
bool network_group_has_room(const struct network_group *group);

/* The core allows `octets` in all, from now on. Members with links that wait for room are called.
 */
void network_group_allow(struct network_group *group, uint64_t octets);

/* One more, one less member that has links which wait. */
void network_group_note_waiting(struct network_group *group, bool is_waiting);

/* Links of all members, those included that are still on their way to one. */
uint32_t network_group_link_count(const struct network_group *group);

#endif
