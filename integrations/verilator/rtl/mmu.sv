// mmu.sv - the memory side of an engine: accesses of 8 bytes by the virtual addresses of a host program.
//
//   TLB       16 entries; a miss asks for a translation, a page that is not there is a page request, then the access is tried again
//   memory    by physical address, one cycle
//
// An invalidation ends entries at once; no access is under way in the cycle of its acknowledgement.
module mmu (
    input  logic        clk,
    input  logic        rst,
    // what the engine wants: held until `finish`
    input  logic        wants,
    input  logic        writes,
    input  logic [63:0] va,
    output logic        finish,       // the access is done in this cycle
    // memory port
    output logic        mem_valid,
    output logic        mem_write,
    output logic [63:0] mem_addr,     // physical
    // translation port
    output logic        ats_valid,
    output logic [63:0] ats_va,
    output logic        ats_write,
    input  logic        ats_ready,
    input  logic        ats_hit,
    input  logic [51:0] ats_pfn,
    // page-request port
    output logic        prq_valid,    // one cycle
    output logic [63:0] prq_va,
    output logic        prq_write,
    output logic [31:0] prq_tag,
    input  logic        prq_done,
    input  logic [31:0] prq_done_tag,
    // invalidation
    input  logic        inv_valid,
    input  logic [63:0] inv_va,
    input  logic [63:0] inv_bytes,
    output logic        inv_ack
);
    localparam int ENTRIES = 16;
    logic        tlb_valid [ENTRIES];
    logic        tlb_write [ENTRIES];
    logic [51:0] tlb_vpn   [ENTRIES];
    logic [51:0] tlb_pfn   [ENTRIES];

    logic [3:0]  index;
    logic        hit;
    assign index = va[15:12];
    assign hit   = tlb_valid[index] && tlb_vpn[index] == va[63:12] && (!writes || tlb_write[index]);

    typedef enum logic [1:0] {ACCESS, TRANSLATE, REQUEST, WAIT} unit_state;
    unit_state unit;
    logic [31:0] tag;
    assign finish    = wants && unit == ACCESS && hit && !inv_valid;
    assign mem_valid = finish;
    assign mem_write = writes;
    assign mem_addr  = {tlb_pfn[index], va[11:0]};
    assign ats_valid = unit == TRANSLATE && !inv_valid;
    assign ats_va    = va;
    assign ats_write = writes;
    assign prq_valid = unit == REQUEST;
    assign prq_va    = va;
    assign prq_write = writes;
    assign prq_tag   = tag;
    assign inv_ack   = inv_valid;

    always_ff @(posedge clk) begin
        if (rst) begin
            unit <= ACCESS;
            tag  <= 1;
            for (int i = 0; i < ENTRIES; i++) tlb_valid[i] <= 0;
        end else begin
            case (unit)
                ACCESS:    if (wants && !hit && !inv_valid) unit <= TRANSLATE;
                TRANSLATE: if (ats_valid && ats_ready) begin
                    unit <= ats_hit ? ACCESS : REQUEST;
                    if (ats_hit) begin
                        tlb_valid[index] <= 1;
                        tlb_write[index] <= writes;
                        tlb_vpn[index]   <= va[63:12];
                        tlb_pfn[index]   <= ats_pfn;
                    end
                end
                REQUEST:   unit <= WAIT;
                WAIT:      if (prq_done && prq_done_tag == tag) begin
                    unit <= TRANSLATE;
                    tag  <= tag + 1;
                end
            endcase
            if (inv_valid)
                for (int i = 0; i < ENTRIES; i++)
                    if ({tlb_vpn[i], 12'b0} >= inv_va && {tlb_vpn[i], 12'b0} < inv_va + inv_bytes) tlb_valid[i] <= 0;
        end
    end
endmodule
