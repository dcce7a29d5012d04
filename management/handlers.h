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
/* route_topology.c, route_generations.c, route_drift.c, route_explain.c */
void handle_plan(struct call *call);
void handle_apply(struct call *call);
void handle_generations(struct call *call);
void handle_generation(struct call *call);
void handle_rollback(struct call *call);
void handle_drift(struct call *call);
void handle_explain(struct call *call);
void handle_explain_get(struct call *call);
/* The dead-letter desk: route_peek.c */
void handle_peek(struct call *call);
void handle_export(struct call *call);
void handle_groups(struct call *call);
/* route_replay.c */
void handle_replay(struct call *call);
void handle_drop(struct call *call);
void handle_replays(struct call *call);
void handle_replay_show(struct call *call);
void handle_replay_cancel(struct call *call);
/* route_pause.c */
void handle_pause(struct call *call);
void handle_resume(struct call *call);
/* route_delayed.c */
void handle_delayed(struct call *call);
void handle_delayed_release(struct call *call);
void handle_delayed_cancel(struct call *call);
/* route_dead_letters.c, route_audit.c, route_tracing.c, route_backup.c */
void handle_dead_letters(struct call *call);
void handle_audit(struct call *call);
void handle_tracing(struct call *call);
void handle_tracing_set(struct call *call);
void handle_backup(struct call *call);
/* route_health.c */
void handle_alive(struct call *call);
void handle_ready(struct call *call);

/* The console: route_web.c, route_session.c, event_stream.c */
void handle_console(struct call *call);
void handle_console_file(struct call *call);
void handle_session_begin(struct call *call);
void handle_session(struct call *call);
void handle_session_end(struct call *call);
void handle_events(struct call *call);

#endif
