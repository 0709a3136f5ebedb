"""Records written through the API: one by one, in collections and by Bulk, with the same checks and errors."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from itertools import groupby
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from sandbox.salesforce.answers import answer, call_of, json_object
from sandbox.salesforce.log import Write
from sandbox.salesforce.org import Org
from sandbox.salesforce.refusals import Refusal
from sandbox.salesforce.schema import READ_ONLY, Field
from sandbox.salesforce.soql import whole_id
from sandbox.salesforce.tables import Table, seconds, written

MOST_RECORDS, MOST_CHUNKS = 200, 10
ROW_MESSAGES = {
    "UNABLE_TO_LOCK_ROW": "unable to obtain exclusive access to this record",
    "ENTITY_IS_DELETED": "entity is deleted",
    "FIELD_CUSTOM_VALIDATION_EXCEPTION": "A validation rule of this org says no.",
    "INVALID_CROSS_REFERENCE_KEY": "invalid cross reference id",
    "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY": "A trigger of this org failed.",
}


@dataclass(frozen=True, slots=True)
class Saved:
    id: str
    created: bool


@dataclass(slots=True)
class Writes:
    org: Org

    # Doors -----------------------------------------------------------------------------------------------------------

    def create_one(self, request: Request, body: bytes) -> Response:
        entity = self._entity(request.path_params["entity"])
        saved = self.create(entity, _fields(json_object(body)), call_of(request).writes)
        return answer({"id": saved.id, "success": True, "errors": []}, 201)

    def update_one(self, request: Request, body: bytes) -> Response:
        entity, id = self._entity(request.path_params["entity"]), request.path_params["id"]
        self.update(entity, id, json_object(body), call_of(request).writes)
        return Response(status_code=204)

    def delete_one(self, request: Request, _body: bytes) -> Response:
        entity, id = self._entity(request.path_params["entity"]), request.path_params["id"]
        self.delete(entity, id, call_of(request).writes)
        return Response(status_code=204)

    def create_many(self, request: Request, body: bytes) -> Response:
        log = call_of(request).writes
        return self._collection(body, log, lambda record: self.create(self._type(record), _fields(record), log))

    def update_many(self, request: Request, body: bytes) -> Response:
        log = call_of(request).writes

        def update(record: Mapping[str, Any]) -> Saved:
            id = record.get("id") or record.get("Id")
            if not id:
                raise Refusal("MISSING_ARGUMENT", "Id not specified in an update call")
            return self.update(self._type(record), str(id), _fields(record), log)

        return self._collection(body, log, update)

    def upsert_many(self, request: Request, body: bytes) -> Response:
        entity, key = self._entity(request.path_params["entity"]), request.path_params["key"]
        log = call_of(request).writes
        return self._collection(body, log, lambda record: self.upsert(entity, key, _fields(record), log), created=True)

    def delete_many(self, request: Request, _body: bytes) -> Response:
        ids = [id for id in request.query_params.get("ids", "").split(",") if id]
        records = [{"attributes": {"type": self.org.entity_of(id) or ""}, "id": id} for id in ids]
        all_or_none = request.query_params.get("allOrNone", "").lower() == "true"
        log = call_of(request).writes
        return self._saves(
            records, all_or_none, log, lambda record: self.delete(self._type(record), record["id"], log), created=False
        )

    # One record ------------------------------------------------------------------------------------------------------

    def create(self, entity: str, values: Mapping[str, Any], log: list[Write]) -> Saved:
        """Refused unless every field may be written and every one that must be filled is."""
        table = self._writable(entity)
        values = self._checked(table, values)
        for item in table.visible().values():
            if item.writable and not item.nillable and item.type != "boolean" and values.get(item.name) is None:
                raise Refusal(
                    "REQUIRED_FIELD_MISSING", f"Required fields are missing: [{item.name}]", fields=(item.name,)
                )
        id = self.org.create(entity, **values)
        log.append(Write(entity, id, "create", {}, _told(table, values)))
        return Saved(id, created=True)

    def update(self, entity: str, id: str, values: Mapping[str, Any], log: list[Write]) -> Saved:
        table = self._writable(entity)
        id = self._live(table, id)
        values = self._checked(table, values)
        before = {name: table.get(id, name) for name in values}
        for name, value in values.items():
            if value is None and not table.fields[name].nillable:
                raise Refusal("REQUIRED_FIELD_MISSING", f"Required fields are missing: [{name}]", fields=(name,))
        self.org.edit(entity, id, **values)
        log.append(Write(entity, id, "update", _told(table, before), _told(table, values)))
        return Saved(id, created=False)

    def upsert(self, entity: str, key: str, values: Mapping[str, Any], log: list[Write]) -> Saved:
        """By an external id; a record that is not there is made."""
        table = self._writable(entity)
        item = table.visible().get(key.lower())
        if key.lower() == "id":
            rest = {name: value for name, value in values.items() if name.lower() != "id"}
            given = next((str(value) for name, value in values.items() if name.lower() == "id"), "")
            return self.update(entity, given, rest, log) if given else self.create(entity, rest, log)
        if item is None or not item.external_id:
            raise Refusal(
                "INVALID_FIELD", f"Field name provided, {key} is not an External ID or indexed field", fields=(key,)
            )
        wanted = next((value for name, value in values.items() if name.lower() == key.lower()), None)
        if not wanted:
            raise Refusal("MISSING_ARGUMENT", f"{key} not specified")
        read = table.reader(item)
        found = [id for id, row in table.rows.items() if read(row) == wanted and not self.org.is_deleted(id)]
        if len(found) > 1:
            raise Refusal("DUPLICATE_EXTERNAL_ID", f"{key}: more than one record found", status=300)
        return self.update(entity, found[0], values, log) if found else self.create(entity, values, log)

    def delete(self, entity: str, id: str, log: list[Write], *, hard: bool = False) -> Saved:
        """`hard` leaves nothing in the recycle bin."""
        table = self._writable(entity)
        id = self._live(table, id)
        self.org.delete(entity, id)
        if hard:
            self.org.purge(entity, id)
        log.append(Write(entity, id, "delete", {"IsDeleted": False}, {"IsDeleted": True}))
        return Saved(id, created=False)

    # Collections -----------------------------------------------------------------------------------------------------

    def _collection(
        self, body: bytes, log: list[Write], save: Callable[[Mapping[str, Any]], Saved], *, created: bool = False
    ) -> Response:
        content = json_object(body)
        records = content.get("records")
        if not isinstance(records, list) or not all(isinstance(record, dict) for record in records):
            raise Refusal("JSON_PARSER_ERROR", "records must be a list of objects")
        return self._saves(records, bool(content.get("allOrNone", False)), log, save, created=created)

    def _saves(
        self,
        records: Sequence[Mapping[str, Any]],
        all_or_none: bool,
        log: list[Write],
        save: Callable[[Mapping[str, Any]], Saved],
        *,
        created: bool,
    ) -> Response:
        """A result per record in the order of the records; a row that fails does not fail the request."""
        if len(records) > MOST_RECORDS:
            raise Refusal(
                "EXCEEDED_ID_LIMIT",
                f"record limit reached. cannot submit more than {MOST_RECORDS} records into this call",
            )
        types = [self._type(record) for record in records]
        if len(list(groupby(types))) > MOST_CHUNKS:
            raise Refusal("LIMIT_EXCEEDED", f"more than {MOST_CHUNKS} chunks of types: sort the records by type")
        before = self.org.kept() if all_or_none else None
        results: list[dict[str, Any]] = []
        for record in records:
            try:
                saved = save(record)
            except Refusal as refusal:
                results.append({"success": False, "errors": [refusal.as_row_error()]})
            else:
                result = {"id": saved.id, "success": True, "errors": []}
                results.append(result | {"created": saved.created} if created else result)
        if before is not None and not all(result["success"] for result in results):
            self.org.restore(before)
            log.clear()
            rolled_back = Refusal(
                "ALL_OR_NONE_OPERATION_ROLLED_BACK",
                "Record rolled back because not all records were valid and the request was using AllOrNone header",
            )
            results = [
                {"success": False, "errors": [rolled_back.as_row_error()]} if result["success"] else result
                for result in results
            ]
        return answer(results)

    # Checks ----------------------------------------------------------------------------------------------------------

    def _entity(self, name: str) -> str:
        return self.org.table(name).entity.name

    def _type(self, record: Mapping[str, Any]) -> str:
        attributes = record.get("attributes")
        name = attributes.get("type") if isinstance(attributes, dict) else None
        if not isinstance(name, str):
            raise Refusal("INVALID_TYPE", "every record needs attributes with its type")
        return self._entity(name)

    def _writable(self, entity: str) -> Table:
        if entity in READ_ONLY:
            raise Refusal("CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY", f"entity type {entity} cannot be written")
        return self.org.table(entity)

    def _live(self, table: Table, id: str) -> str:
        id = whole_id(id)
        self._refuse_by_order(id)
        if len(id) != 18:
            raise Refusal("MALFORMED_ID", f"malformed id {id}", fields=("Id",))
        if self.org.is_deleted(id):
            raise Refusal("ENTITY_IS_DELETED", ROW_MESSAGES["ENTITY_IS_DELETED"], status=404)
        if id not in table.rows:
            code = "INVALID_CROSS_REFERENCE_KEY"
            raise Refusal(code, ROW_MESSAGES[code], status=404)
        return id

    def _refuse_by_order(self, id: str) -> None:
        code, times = self.org.refused_rows.get(id, ("", None))
        if not code:
            return
        if times is not None:
            self.org.refused_rows[id] = (code, times - 1)
            if times <= 1:
                del self.org.refused_rows[id]
        raise Refusal(code, ROW_MESSAGES.get(code, "This record is refused."))

    def _checked(self, table: Table, values: Mapping[str, Any]) -> dict[str, Any]:
        visible = table.visible()
        checked = {}
        for name, value in values.items():
            item = visible.get(name.lower())
            if item is None:
                raise Refusal(
                    "INVALID_FIELD", f"No such column '{name}' on sobject of type {table.entity.name}", fields=(name,)
                )
            if not item.writable:
                raise Refusal(
                    "INVALID_FIELD_FOR_INSERT_UPDATE",
                    f"Unable to create/update fields: {item.name}. Please check the security settings of this field.",
                    fields=(item.name,),
                )
            checked[item.name] = None if value is None or value == "" else self._converted(item, value)
        return checked

    def _converted(self, item: Field, value: Any) -> Any:
        wrong = Refusal(
            "INVALID_TYPE_ON_FIELD_IN_RECORD",
            f"{item.name}: value not of required type: {value}",
            fields=(item.name,),
        )
        try:
            match item.type:
                case "boolean":
                    if isinstance(value, bool):
                        return value
                    return {"true": True, "false": False}[value]
                case "int":
                    if float(value) != int(float(value)):
                        raise wrong
                    return int(float(value))
                case "double" | "currency" | "percent":
                    return float(value)
                case "date":
                    return date.fromisoformat(value).isoformat()
                case "datetime":
                    return seconds(datetime.fromisoformat(value).isoformat())
        except (TypeError, ValueError, KeyError) as error:
            raise wrong from error
        if not isinstance(value, str):
            raise wrong
        if item.picklist and value not in item.picklist:
            code = "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST"
            raise Refusal(code, f"{item.name}: bad value for restricted picklist field: {value}", fields=(item.name,))
        if item.type == "reference":
            return self._referred(item, whole_id(value))
        if item.length and len(value) > item.length:
            raise Refusal("STRING_TOO_LONG", f"{item.name}: data value too large: {value[:40]}", fields=(item.name,))
        if item.type == "email" and not re.fullmatch(r"[^@\s]+@[^@\s]+", value):
            raise Refusal("INVALID_EMAIL_ADDRESS", f"{item.name}: invalid email address: {value}", fields=(item.name,))
        return value

    def _referred(self, item: Field, id: str) -> str:
        entity = self.org.entity_of(id)
        if entity not in item.refers_to or id not in self.org.tables[entity].rows or self.org.is_deleted(id):
            code = "INVALID_CROSS_REFERENCE_KEY"
            raise Refusal(code, ROW_MESSAGES[code], fields=(item.name,))
        return id


def _told(table: Table, values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: written(table.fields[name], value) for name, value in values.items()}


def _fields(record: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in record.items() if name != "attributes" and name.lower() != "id"}
