"""What FedSafe needs of each private name of flwr: attributes, parameters, message fields.

Data for `fedsafe.flower.compatibility`; the names themselves are in `internals`.
"""

from typing import Final

PARTS: Final[dict[str, str]] = {
    "launch": "ErrorCode TaskIdentity",
    "client": (
        "ErrorCode TaskIdentity FleetHttpClient NodeAuthHttpInterceptor HeartbeatSender "
        "RetryInvoker exponential RuntimeVersionMetadata "
        "get_runtime_version_incompatibility_exit_message HEARTBEAT_DEFAULT_INTERVAL "
        "message_to_proto remove_content_from_message get_all_nested_objects get_object_tree "
        "make_confirm_message_received_fn_protobuf make_pull_object_fn_protobuf "
        "make_push_object_fn_protobuf ObjectPushError pull_and_inflate_object_from_tree "
        "push_objects public_key_to_bytes Node ActivateNodeRequest DeactivateNodeRequest "
        "PullMessagesRequest PushMessagesRequest RegisterNodeFleetRequest SendNodeHeartbeatRequest"
    ),
    "server": (
        "build_fab_from_files fab_to_proto user_config_to_proto Fab FlowerError ControlHttpClient "
        "ListRunsRequest RegisterNodeRequest StartRunRequest StopRunRequest StreamLogsRequest "
        "FLEET_HTTP_PUBLIC_KEY_HEADER public_key_to_bytes uses_nist_ec_curve flower_superexec "
        "TASK_TYPE_TO_APPIO_API_ADDRESS_ARG TASK_TYPE_TO_COMMAND ExecutionSpec LaunchResult "
        "SubprocessExecutor"
    ),
    "serverapp": (
        "ErrorCode SUPERLINK_NODE_ID HttpGrid InMemoryGrid log make_message "
        "inflate_object_from_contents ObjectPushError get_object_head_values_from_object_content "
        "ConfirmMessageReceivedRequest PullObjectRequest PullAppMessagesRequest"
    ),
    "superlink": (
        "ErrorCode SUPERLINK_NODE_ID FLOWER_LOGGER log ProtoError ProtoMessage ProtoMetadata "
        "ObjectTree InMemoryLinkState generate_rand_int_from_bytes configure_app create_app "
        "flower_superlink PROTOBUF_REQUEST_TYPES uses_nist_ec_curve"
    ),
}
"""The names that each program needs."""

ATTRIBUTES: Final[dict[str, str]] = {
    "ControlHttpClient": (
        "from_server_address close ListRuns RegisterNode StartRun StopRun StreamLogs"
    ),
    "ErrorCode": (
        "UNKNOWN LOAD_CLIENT_APP_EXCEPTION CLIENT_APP_RAISED_EXCEPTION CLIENT_APP_CRASHED "
        "MESSAGE_UNAVAILABLE REPLY_MESSAGE_UNAVAILABLE NODE_UNAVAILABLE"
    ),
    "FleetHttpClient": (
        "from_server_address ActivateNode DeactivateNode RegisterNode SendNodeHeartbeat "
        "PullMessages PushMessages PullObject PushObject ConfirmMessageReceived"
    ),
    "FlowerError": "from_json",
    "HeartbeatSender": "start stop is_running",
    "HttpGrid": "_runtime_client get_nodes push_messages pull_messages run",
    "InMemoryGrid": "get_node_ids push_messages pull_messages",
    "InMemoryLinkState": (
        "create_node get_node_id_by_public_key acknowledge_node_heartbeat deactivate_node "
        "delete_messages object_store get_node_info"
    ),
    "NodeAuthHttpInterceptor": "intercept",
    "RetryInvoker": "invoke",
    "RuntimeVersionMetadata": "from_local_component as_metadata",
}
"""Attributes of classes, by their name in `internals`."""

ASSIGNED: Final[dict[str, str]] = {
    "HttpGrid": "node",
    "InMemoryLinkState": "lock message_ins_store",
}
"""Attributes that a class's ``__init__`` sets."""

CALLS: Final[dict[str, tuple[int, str]]] = {
    "ControlHttpClient.from_server_address": (4, ""),
    "Fab": (3, ""),
    "FleetHttpClient.from_server_address": (4, ""),
    "HeartbeatSender": (1, ""),
    "InMemoryLinkState.create_node": (5, ""),
    "NodeAuthHttpInterceptor": (2, ""),
    "RetryInvoker": (2, "max_tries max_time on_backoff on_success should_giveup"),
    "RuntimeVersionMetadata.from_local_component": (1, ""),
    "build_fab_from_files": (1, ""),
    "configure_app": (1, ""),
    "exponential": (0, "max_delay"),
    "fab_to_proto": (1, ""),
    "flower_superlink": (0, ""),
    "generate_rand_int_from_bytes": (1, ""),
    "get_all_nested_objects": (1, ""),
    "get_object_head_values_from_object_content": (1, ""),
    "get_object_tree": (1, ""),
    "get_runtime_version_incompatibility_exit_message": (1, ""),
    "inflate_object_from_contents": (2, ""),
    "log": (2, ""),
    "make_confirm_message_received_fn_protobuf": (3, ""),
    "make_message": (0, "metadata error"),
    "make_pull_object_fn_protobuf": (3, ""),
    "make_push_object_fn_protobuf": (4, ""),
    "message_to_proto": (1, ""),
    "public_key_to_bytes": (1, ""),
    "pull_and_inflate_object_from_tree": (3, "return_type max_time"),
    "push_objects": (2, "object_ids_to_push"),
    "remove_content_from_message": (1, ""),
    "user_config_to_proto": (1, ""),
    "uses_nist_ec_curve": (1, ""),
}
"""Positional arguments, counted, and keyword arguments with which each is called."""

FIELDS: Final[dict[str, dict[str, str]]] = {
    "launch": {},
    "client": {
        "fleet_pb2.ActivateNodeRequest": "public_key heartbeat_interval",
        "fleet_pb2.ActivateNodeResponse": "node_id",
        "fleet_pb2.DeactivateNodeRequest": "node_id",
        "fleet_pb2.PullMessagesRequest": "node",
        "fleet_pb2.PullMessagesResponse": "messages_list message_object_trees",
        "fleet_pb2.PushMessagesRequest": (
            "node messages_list message_object_trees clientapp_runtime_list"
        ),
        "fleet_pb2.PushMessagesResponse": "objects_to_push session_id",
        "fleet_pb2.RegisterNodeFleetRequest": "public_key",
        "heartbeat_pb2.SendNodeHeartbeatRequest": "node heartbeat_interval",
        "heartbeat_pb2.SendNodeHeartbeatResponse": "success",
        "node_pb2.Node": "node_id",
    },
    "server": {
        "control_pb2.ListRunsRequest": "limit run_id",
        "control_pb2.ListRunsResponse": "run_dict",
        "control_pb2.RegisterNodeRequest": "public_key name",
        "control_pb2.StartRunRequest": "fab override_config",
        "control_pb2.StartRunResponse": "run_id",
        "control_pb2.StopRunRequest": "run_id",
        "control_pb2.StreamLogsRequest": "run_id",
        "control_pb2.StreamLogsResponse": "log_output",
        "run_pb2.Run": "status",
        "run_pb2.RunStatus": "status sub_status details",
    },
    "serverapp": {
        "message_pb2.ConfirmMessageReceivedRequest": "node run_id message_object_id",
        "message_pb2.Metadata": "run_id message_id src_node_id reply_to_message_id",
        "message_pb2.ObjectTree": "object_id children",
        "message_pb2.PullObjectRequest": "node run_id object_id",
        "message_pb2.PullObjectResponse": "object_found object_available object_content",
        "node_pb2.NodeInfo": "node_id public_key last_activated_at",
        "runtime_pb2.PullAppMessagesRequest": "message_ids",
        "runtime_pb2.PullAppMessagesResponse": "messages_list message_object_trees",
    },
    "superlink": {
        "error_pb2.Error": "code reason",
        "fleet_pb2.ActivateNodeRequest": "public_key",
        "fleet_pb2.PullMessagesRequest": "node",
        "fleet_pb2.PullMessagesResponse": "messages_list",
        "fleet_pb2.PushMessagesRequest": "node messages_list message_object_trees",
        "fleet_pb2.PushMessagesResponse": "objects_to_push",
        "message_pb2.ConfirmMessageReceivedRequest": "node message_object_id",
        "message_pb2.Message": "metadata error",
        "message_pb2.Metadata": (
            "message_id src_node_id dst_node_id reply_to_message_id message_type created_at ttl"
        ),
        "message_pb2.ObjectTree": "object_id children",
        "message_pb2.PushObjectRequest": "node object_id object_content",
        "message_pb2.PushObjectResponse": "stored",
        "runtime_pb2.PullAppMessagesRequest": "message_ids",
        "runtime_pb2.PullAppMessagesResponse": "messages_list message_object_trees",
        "runtime_pb2.PushAppMessagesRequest": "messages_list message_object_trees",
        "runtime_pb2.PushAppMessagesResponse": "message_ids objects_to_push",
    },
}
"""Fields of protobuf messages that each program reads or writes, by module and message."""

_FLEET = (
    "register-node activate-node deactivate-node unregister-node send-node-heartbeat "
    "pull-messages push-messages get-run get-fab push-object pull-object confirm-message-received"
)
_RUNTIME = "pull-messages push-messages push-object confirm-message-received"
GUARDED: Final = frozenset(
    [f"/v1/fleet/{call}" for call in _FLEET.split()]
    + [f"/v1/runtime/{call}" for call in _RUNTIME.split()]
)
"""Paths of the requests to the SuperLink that FedSafe's guard checks or takes note of."""
