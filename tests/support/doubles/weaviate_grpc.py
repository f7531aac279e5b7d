"""The gRPC half of the double of Weaviate: the service that the Weaviate client ships, on classes in memory."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import UUID

import grpc
import numpy as np
import numpy.typing as npt
from weaviate.proto.v1 import (
    aggregate_pb2,
    base_pb2,
    batch_delete_pb2,
    batch_pb2,
    health_weaviate_pb2,
    properties_pb2,
    search_get_pb2,
    weaviate_pb2_grpc,
)

from tests.support.doubles.weaviate_classes import Classes, Missing, Object, WrongLength
from tests.support.doubles.weaviate_faults import Faults

Filters = base_pb2.Filters


class Servicer(weaviate_pb2_grpc.WeaviateServicer):
    def __init__(self, classes: Classes, faults: Faults) -> None:
        self._classes, self._faults = classes, faults

    def Search(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        held = self._classes[request.collection]
        if request.HasField("hybrid_search"):
            hybrid = request.hybrid_search
            alpha = hybrid.alpha_param if hybrid.use_alpha_param else hybrid.alpha
            found = held.hybrid(hybrid.query, _query_vector(hybrid), tuple(hybrid.properties), alpha, request.limit)
        else:
            after = UUID(request.after) if request.after else UUID(int=0)
            ids = held.where(lambda id_, one: id_ > after and _matches(request.filters, id_, one))
            found = [(id_, 0.0) for id_ in ids[: request.limit or 100]]
        return search_get_pb2.SearchReply(
            results=[_result(request, id_, held.objects[id_], score) for id_, score in found]
        )

    def Aggregate(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        held = self._classes[request.collection]
        count = len(held.where(lambda id_, one: _matches(request.filters, id_, one)))
        return aggregate_pb2.AggregateReply(single_result=aggregate_pb2.AggregateReply.Single(objects_count=count))

    def BatchObjects(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        errors = []
        for index, one in enumerate(request.objects):
            try:
                vector = _unit(np.frombuffer(one.vector_bytes, "<f4"))
                properties = dict(one.properties.non_ref_properties)
                held = Object(properties, vector)
                self._classes.write(one.collection, UUID(one.uuid), held, self._faults.auto_schema)
            except Missing as error:
                errors.append(batch_pb2.BatchObjectsReply.BatchError(index=index, error=str(error)))
        return batch_pb2.BatchObjectsReply(errors=errors)

    def BatchDelete(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        held = self._classes[request.collection]
        ids = held.where(lambda id_, one: _matches(request.filters, id_, one))
        held.remove(ids)
        return batch_delete_pb2.BatchDeleteReply(matches=len(ids), successful=len(ids))


class _Gate(grpc.ServerInterceptor):  # type: ignore[misc]  # grpc has no types
    """Counts calls, checks their key, and does to them what the faults say."""

    def __init__(self, classes: Classes, faults: Faults) -> None:
        self._classes, self._faults = classes, faults

    def intercept_service(self, continuation: Any, details: Any) -> Any:
        handler = continuation(details)
        method = details.method.rpartition("/")[2]
        caller = dict(details.invocation_metadata).get("authorization")

        def behave(request: Any, context: grpc.ServicerContext) -> Any:
            self._faults.count(method)
            if not self._faults.admit(caller):
                context.abort(grpc.StatusCode.UNAUTHENTICATED, "unauthorized: invalid api key")
            if method in self._faults.unavailable:
                context.abort(grpc.StatusCode.UNAVAILABLE, "scripted")
            if self._faults.starting:
                if method == "BatchObjects":
                    return _all_failed(request, self._faults.starting)
                context.abort(grpc.StatusCode.UNKNOWN, self._faults.starting)
            if method == "BatchObjects" and (refused := self._faults.refusal("U", "data/collections/*")):
                return _all_failed(request, refused)
            if method == "BatchDelete" and (refused := self._faults.refusal("D", "data/collections/*")):
                context.abort(grpc.StatusCode.PERMISSION_DENIED, refused)
            if method == "Search":
                time.sleep(self._faults.delay)
            try:
                with self._classes.lock:
                    return handler.unary_unary(request, context)
            except (Missing, WrongLength) as error:
                context.abort(grpc.StatusCode.UNKNOWN, str(error))

        return grpc.unary_unary_rpc_method_handler(behave, handler.request_deserializer, handler.response_serializer)


def _all_failed(request: Any, said: str) -> Any:
    errors = [batch_pb2.BatchObjectsReply.BatchError(index=index, error=said) for index in range(len(request.objects))]
    return batch_pb2.BatchObjectsReply(errors=errors)


def start(classes: Classes, faults: Faults, certified: tuple[Path, Path] | None) -> int:
    """Serves on threads, over TLS with a key and its certificate; the port."""
    server = grpc.server(
        ThreadPoolExecutor(64),
        interceptors=[_Gate(classes, faults)],
        options=[("grpc.max_receive_message_length", 104858000), ("grpc.so_reuseport", 0)],
    )
    weaviate_pb2_grpc.add_WeaviateServicer_to_server(Servicer(classes, faults), server)  # type: ignore[no-untyped-call]
    serving = health_weaviate_pb2.WeaviateHealthCheckResponse(status="SERVING")
    check = grpc.unary_unary_rpc_method_handler(
        lambda request, context: serving,
        health_weaviate_pb2.WeaviateHealthCheckRequest.FromString,
        health_weaviate_pb2.WeaviateHealthCheckResponse.SerializeToString,
    )
    health = grpc.method_handlers_generic_handler("grpc.health.v1.Health", {"Check": check})
    server.add_generic_rpc_handlers((health,))
    if certified:
        key, certificate = (file.read_bytes() for file in certified)
        port = int(server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([(key, certificate)])))
    else:
        port = int(server.add_insecure_port("127.0.0.1:0"))
    server.start()
    _running.append(server)
    return port


_running: list[Any] = []  # a server that nothing refers to stops


def _result(request: Any, id_: UUID, one: Object, score: float) -> Any:
    wanted = request.properties
    names = one.properties if wanted.return_all_nonref_properties else wanted.non_ref_properties
    fields = {
        name: properties_pb2.Value(text_value=one.properties[name])
        for name in names
        if one.properties.get(name) is not None
    }
    metadata = search_get_pb2.MetadataResult(
        id=str(id_),
        id_as_bytes=id_.bytes,
        score=score,
        score_present=request.metadata.score,
        creation_time_unix=1,
        creation_time_unix_present=True,
        last_update_time_unix=1,
        last_update_time_unix_present=True,
        vector_bytes=one.vector.astype("<f4").tobytes() if request.metadata.vector else b"",
    )
    properties = search_get_pb2.PropertiesResult(
        non_ref_props=properties_pb2.Properties(fields=fields), target_collection=request.collection
    )
    return search_get_pb2.SearchResult(properties=properties, metadata=metadata)


def _query_vector(hybrid: Any) -> npt.NDArray[np.float32]:
    return _unit(np.frombuffer(hybrid.vectors[0].vector_bytes if hybrid.vectors else hybrid.vector_bytes, "<f4"))


def _unit(vector: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    return vector / np.linalg.norm(vector) if vector.size else vector


def _matches(filters: Any, id_: UUID, one: Object) -> bool:
    if filters.operator == Filters.OPERATOR_UNSPECIFIED:
        return True
    if filters.operator in (Filters.OPERATOR_AND, Filters.OPERATOR_OR):
        together: Callable[[Any], bool] = all if filters.operator == Filters.OPERATOR_AND else any
        return together(_matches(part, id_, one) for part in filters.filters)
    name = filters.target.property
    value = str(id_) if name == "_id" else one.properties.get(name)
    if filters.operator == Filters.OPERATOR_NOT_EQUAL:
        return bool(value != filters.value_text)
    assert filters.operator == Filters.OPERATOR_EQUAL, filters
    return bool(value == filters.value_text)
