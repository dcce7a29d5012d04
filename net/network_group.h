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

/* Links of all members, those included that are still on their way to one. */
uint32_t network_group_link_count(const struct network_group *group);

#endif
