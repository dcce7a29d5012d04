/* SPDX-License-Identifier: Apache-2.0 */
/* Who answers the routes of the table. One declaration a row; the files are route_*.c. */
#ifndef BOURSE_MANAGEMENT_HANDLERS_H
#define BOURSE_MANAGEMENT_HANDLERS_H

struct call;

/* route_overview.c */
void handle_overview(struct call *call);
void handle_whoami(struct call *call);
/* route_vhosts.c */
void handle_vhosts(struct call *call);
void handle_vhost(struct call *call);
/* route_queues.c */
void handle_queues(struct call *call);
void handle_queue(struct call *call);
void handle_queue_bindings(struct call *call);
/* route_queue_changes.c */
void handle_queue_put(struct call *call);
void handle_queue_delete(struct call *call);
void handle_queue_purge(struct call *call);
/* route_get.c */
void handle_queue_get(struct call *call);
/* route_publish.c */
void handle_publish(struct call *call);
/* Changing what is not a queue: route_exchange_changes.c */
void handle_exchange_put(struct call *call);
void handle_exchange_delete(struct call *call);
void handle_queue_bind(struct call *call);
void handle_exchange_bind(struct call *call);
/* route_unbind.c */
void handle_queue_unbind(struct call *call);
void handle_exchange_unbind(struct call *call);
/* route_vhost_changes.c */
void handle_vhost_put(struct call *call);
void handle_vhost_delete(struct call *call);
void handle_vhost_protect(struct call *call);
void handle_vhost_unprotect(struct call *call);
void handle_policy_put(struct call *call);
void handle_policy_delete(struct call *call);
void handle_operator_policy_put(struct call *call);
void handle_operator_policy_delete(struct call *call);
/* route_user_changes.c */
void handle_user_put(struct call *call);
void handle_user_delete(struct call *call);
void handle_users_delete(struct call *call);
void handle_permission_put(struct call *call);
void handle_permission_delete(struct call *call);
void handle_topic_permission_put(struct call *call);
void handle_topic_permission_delete(struct call *call);
void handle_user_limit_put(struct call *call);
void handle_user_limit_delete(struct call *call);
void handle_vhost_limit_put(struct call *call);
void handle_vhost_limit_delete(struct call *call);
/* route_definitions.c */
void handle_definitions_get(struct call *call);
void handle_definitions_post(struct call *call);
/* route_small_changes.c */
void handle_queue_action(struct call *call);
void handle_hash_password(struct call *call);
void handle_cluster_name_put(struct call *call);
void handle_no_list(struct call *call);
void handle_no_parameter(struct call *call);
void handle_parameter_put(struct call *call);
void handle_login(struct call *call);
void handle_nothing_to_do(struct call *call);
/* openapi.c */
void handle_openapi(struct call *call);

/* route_health.c */
void handle_alive(struct call *call);
void handle_ready(struct call *call);

#endif
