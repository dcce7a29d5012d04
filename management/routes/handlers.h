/* SPDX-License-Identifier: Apache-2.0 */
/* Who answers the routes of the table. One declaration a row, under the file that it is in.
 */
#ifndef BOURSE_MANAGEMENT_ROUTES_HANDLERS_H
#define BOURSE_MANAGEMENT_ROUTES_HANDLERS_H

struct call;

/* overview.c */
void handle_overview(struct call *call);
void handle_whoami(struct call *call);
/* vhosts.c */
void handle_vhosts(struct call *call);
void handle_vhost(struct call *call);
/* queues.c */
void handle_queues(struct call *call);
void handle_queue(struct call *call);
void handle_queue_bindings(struct call *call);
/* queue_changes.c */
void handle_queue_put(struct call *call);
void handle_queue_delete(struct call *call);
void handle_queue_purge(struct call *call);
void handle_queue_purge_counted(struct call *call);
/* get.c */
void handle_queue_get(struct call *call);
/* publish.c */
void handle_publish(struct call *call);
/* topology.c, generations.c, drift.c, explain.c */
void handle_plan(struct call *call);
void handle_apply(struct call *call);
void handle_generations(struct call *call);
void handle_generation(struct call *call);
void handle_rollback(struct call *call);
void handle_drift(struct call *call);
void handle_explain(struct call *call);
void handle_explain_get(struct call *call);
/* The dead-letter desk: peek.c */
void handle_peek(struct call *call);
void handle_export(struct call *call);
void handle_exchange_traffic(struct call *call);
void handle_queue_traffic(struct call *call);
void handle_groups(struct call *call);
/* replay.c */
void handle_replay(struct call *call);
void handle_drop(struct call *call);
/* jobs.c */
void handle_replays(struct call *call);
void handle_replay_show(struct call *call);
void handle_replay_cancel(struct call *call);
/* pause.c */
void handle_pause(struct call *call);
void handle_resume(struct call *call);
/* delayed.c */
void handle_delayed(struct call *call);
void handle_delayed_release(struct call *call);
void handle_delayed_cancel(struct call *call);
/* dead_letters.c, audit.c, tracing.c, backup.c */
void handle_dead_letters(struct call *call);
void handle_audit(struct call *call);
void handle_tracing(struct call *call);
void handle_tracing_set(struct call *call);
void handle_backup(struct call *call);
/* Changing what is not a queue: exchange_changes.c */
void handle_exchange_put(struct call *call);
void handle_exchange_delete(struct call *call);
void handle_queue_bind(struct call *call);
void handle_exchange_bind(struct call *call);
/* unbind.c */
void handle_queue_unbind(struct call *call);
void handle_exchange_unbind(struct call *call);
/* vhost_changes.c */
void handle_vhost_put(struct call *call);
void handle_vhost_delete(struct call *call);
void handle_vhost_protect(struct call *call);
void handle_vhost_unprotect(struct call *call);
void handle_policy_put(struct call *call);
void handle_policy_delete(struct call *call);
void handle_operator_policy_put(struct call *call);
void handle_operator_policy_delete(struct call *call);
/* user_changes.c */
void handle_user_put(struct call *call);
void handle_user_tags_put(struct call *call);
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
/* definitions.c */
void handle_definitions_get(struct call *call);
void handle_definitions_post(struct call *call);
/* small_changes.c */
void handle_queue_action(struct call *call);
void handle_hash_password(struct call *call);
void handle_cluster_name_put(struct call *call);
void handle_parameters(struct call *call);
void handle_parameter_delete(struct call *call);
void handle_global_parameters(struct call *call);
void handle_global_parameter_put(struct call *call);
void handle_global_parameter_delete(struct call *call);
void handle_parameter_put(struct call *call);
void handle_login(struct call *call);
void handle_nothing_to_do(struct call *call);
/* openapi.c */
void handle_openapi(struct call *call);

/* health.c */
void handle_alive(struct call *call);
void handle_ready(struct call *call);

/* The console: console.c, session.c */
void handle_console(struct call *call);
void handle_console_file(struct call *call);
void handle_session_begin(struct call *call);
void handle_session(struct call *call);
void handle_session_end(struct call *call);
/* metrics: metrics.c */
void handle_metrics(struct call *call);
void handle_metrics_of_objects(struct call *call);
void handle_metrics_in_detail(struct call *call);
/* attention.c, history.c */
void handle_attention(struct call *call);
void handle_history(struct call *call);
void handle_queue_history(struct call *call);
/* vitals.c, log.c, sources.c */
void handle_vitals(struct call *call);
void handle_log(struct call *call);
void handle_queue_sources(struct call *call);
/* Looking at the rest of the broker. */
/* clients.c */
void handle_connections(struct call *call);
void handle_connections_of_user(struct call *call);
void handle_connection(struct call *call);
void handle_connection_close(struct call *call);
void handle_connections_of_user_close(struct call *call);
void handle_channels(struct call *call);
void handle_channels_of_connection(struct call *call);
void handle_channel(struct call *call);
void handle_consumers(struct call *call);
/* exchanges.c */
void handle_exchanges(struct call *call);
void handle_exchange(struct call *call);
void handle_bindings(struct call *call);
void handle_bindings_from(struct call *call);
void handle_bindings_to_exchange(struct call *call);
void handle_bindings_between(struct call *call);
void handle_binding(struct call *call);
/* rights.c */
void handle_users(struct call *call);
void handle_users_without_rights(struct call *call);
void handle_user(struct call *call);
void handle_user_limits(struct call *call);
void handle_permissions(struct call *call);
void handle_permissions_of_vhost(struct call *call);
void handle_permissions_of_user(struct call *call);
void handle_permission(struct call *call);
void handle_topic_permissions(struct call *call);
void handle_topic_permissions_of_vhost(struct call *call);
void handle_topic_permissions_of_user(struct call *call);
void handle_topic_permission(struct call *call);
void handle_policies(struct call *call);
void handle_operator_policies(struct call *call);
void handle_vhost_limits(struct call *call);
/* nodes.c */
void handle_nodes(struct call *call);
void handle_node(struct call *call);
void handle_node_memory(struct call *call);
void handle_cluster_name(struct call *call);
void handle_empty_list(struct call *call);
void handle_version(struct call *call);
void handle_feature_flags(struct call *call);
void handle_login_attempts(struct call *call);
void handle_login_sources(struct call *call);
void handle_vhost_start(struct call *call);
void handle_check_node(struct call *call);
void handle_effective_config(struct call *call);
/* checks.c */
void handle_check_alarms(struct call *call);
void handle_check_core(struct call *call);
void handle_check_service(struct call *call);
void handle_check_quorum(struct call *call);
void handle_check_port(struct call *call);
void handle_check_protocol(struct call *call);
void handle_check_certificates(struct call *call);

#endif
