// An OPC UA client of another author: node-opcua (npm).
//
// `node node_opcua_client.js URL` reads CTRL, writes STAT and what it must not, and prints what came
// of it as one line of JSON.
"use strict";
const path = require("node:path");

const modules = path.join(__dirname, "..", "..", ".venv", "node", "node_modules");
const need = (name) => require(require.resolve(name, { paths: [modules] }));

async function main() {
    const opcua = need("node-opcua-client");
    const { DataType, VariantArrayType, AttributeIds } = opcua;
    const client = opcua.OPCUAClient.create({
        endpointMustExist: false,
        connectionStrategy: { maxRetry: 0 },
        requestedSessionTimeout: 20000,
    });
    await client.connect(process.argv[2]);
    const session = await client.createSession();
    const told = {};
    const read = async (node) => {
        const found = await session.read({ nodeId: node, attributeId: AttributeIds.Value });
        const values = found.value.value;
        return [found.statusCode.name, values === null || values === undefined ? null : Array.from(values)];
    };
    const write = async (node, values, dataType = DataType.UInt16) => {
        const value = { dataType, arrayType: VariantArrayType.Array, value: values };
        try {
            const status = await session.write({
                nodeId: node, attributeId: AttributeIds.Value, value: { value },
            });
            return status.name;
        } catch (error) {
            return /Bad\w+/.exec(error.message)?.[0] ?? error.message;
        }
    };
    const words = [0, 65535, 7, 65534, ...Array(12).fill(1)];
    const browsed = await session.browse("ObjectsFolder");
    told.browsed = browsed.references.map((reference) => reference.browseName.name);
    told.ctrl = await read("ns=1;s=CTRL");
    told.written = await write("ns=1;s=STAT", words);
    told.stat = await read("ns=1;s=STAT");
    told.unknown = await read("ns=1;s=OTHER");
    told.to_ctrl = await write("ns=1;s=CTRL", words);
    told.short = await write("ns=1;s=STAT", words.slice(1));
    told.signed = await write("ns=1;s=STAT", words.map(() => 1), DataType.Int16);
    told.after = await read("ns=1;s=STAT");
    await session.close();
    await client.disconnect();
    process.stdout.write(`${JSON.stringify(told)}\n`);
}

console.log = console.warn = () => {};
main().catch((error) => {
    process.stderr.write(error.code === "MODULE_NOT_FOUND" ? "node-opcua is not installed\n" : `${error.stack}\n`);
    process.exit(1);
});
